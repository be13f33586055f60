"""Where the time of TensorRT engines goes: ``python -m benchmarks.tensorrt_layers FOLDER``.

Each layer of the engines that `benchmarks.tensorrt_speed` built, and of those that `benchmarks.gpu_peers` parsed, with
its kind and format as the engine inspector names them, and its microseconds by TensorRT's profiler; and what those of
ours sum up to, by what they are for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import run_command
from benchmarks.rows import SAME_GPU, Row, gpu_result, shared_description, writing_alone
from benchmarks.tensorrt_speed import describe_here, engine_of
from fastrt.engine import list_layers, open_runner

Engines = dict[str, list[list[Any]]]
"""The layers of each engine, ``COLUMNS`` of each."""

COLUMNS = ("layer", "kind", "us")


def list_times(path: Path) -> list[list[Any]]:
    """Name, kind and microseconds of each layer, for the largest batch."""
    kinds = {layer.name: layer.kind for layer in list_layers(path)}
    runner = open_runner(path)
    try:
        times = runner.time_layers(runner.batch)
    finally:
        runner.close()
    return [[name, kinds.get(name, ""), round(time, 2)] for name, time in times.items()]


def sum_up(engine: str, layers: Sequence[Sequence[Any]]) -> Row:
    """Microseconds of an engine by what its layers are for.

    >>> layers = [["bn1.IN", "Myelin FP32", 2.0], ["conv1 + relu", "CaskConvolution Int8", 3.0]]
    >>> sum_up("R34-int8-1", layers)["norms, us"]
    2
    """
    sums = dict.fromkeys(("convolutions", "norms", "the bytes' way in", "copies and conversions", "rest"), 0.0)
    for name, kind, time in layers:
        sums[_purpose(name, kind.partition(" ")[0])] += time
    title, precision, batch = engine.rsplit("-", 2)
    return {
        "model": title,
        "precision": precision,
        "batch": int(batch),
        "layers": len(layers),
        **{f"{purpose}, us": round(time) for purpose, time in sums.items()},
        "all, us": round(sum(sums.values())),
    }


def _purpose(name: str, kind: str) -> str:
    if "Conv" in kind:
        return "convolutions"
    if ".IN" in name:
        return "norms"
    if name.startswith(("images", "{ForeignNode[images")):
        return "the bytes' way in"
    return "copies and conversions" if kind.endswith(("Reformat", "NoOp")) else "rest"


def save(engines: Engines, machine: Row) -> None:
    """Write engines beside those of before that were measured on such a machine."""
    path = gpu_result(machine["gpu"], "tensorrt_layers")
    with writing_alone(path.parent):
        before: Row = json.loads(path.read_text()) if path.is_file() else {"machine": None, "engines": {}}
        others: Engines = {name: layers for name, layers in before["engines"].items() if name not in engines}
        shared = shared_description(before["machine"], machine, SAME_GPU)
        if others and shared is not None:
            machine, engines = shared, {**others, **engines}
        engines = dict(sorted(engines.items(), key=lambda item: engine_of(sum_up(*item))))
        result = {"command": "python -m benchmarks.tensorrt_layers FOLDER", "machine": machine}
        path.write_text(json.dumps({**result, "columns": COLUMNS, "engines": engines}) + "\n")


def list_rows(result: Row) -> list[Row]:
    """A result's engines, summed up for a table. What a parser's layers are for, their names do not tell."""
    return [sum_up(name, layers) for name, layers in result["engines"].items() if "-parser-" not in name]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_layers", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    engines = {path.stem: list_times(path) for path in sorted(folder.glob("*.engine"))}
    if not engines:
        parser.error(f"{folder} has no engine to measure; build one first")
    save(engines, describe_here())
    for row in list_rows({"engines": engines}):
        print(row)


if __name__ == "__main__":
    run_command(main)

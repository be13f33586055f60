"""Time per layer of TensorRT engines: ``python -m benchmarks.tensorrt_layers FOLDER``.

Lists each layer of the engines of `benchmarks.tensorrt_speed` and of the parsed ones of `benchmarks.gpu_peers`: type
and format from the engine inspector, and microseconds from TensorRT's profiler. Also sums fastrt's engines by purpose,
and compares them with the parsed engines by layer type.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.models import TITLES
from benchmarks.results import Row, engine_of, run_command
from benchmarks.tensorrt_speed import save_here
from fastrt.engine.load import list_layers, open_runner

PARSER = "parser"
"""Replaces the precision in the name of an FP16 engine that `benchmarks.gpu_peers` parsed."""

Layers = Sequence[Sequence[Any]]
"""The ``COLUMNS`` of each layer."""

COLUMNS = ("layer", "kind", "us")


def measure(path: Path) -> Row:
    """Measure the layers of an engine for its largest batch."""
    kinds = {layer.name: layer.kind for layer in list_layers(path)}
    runner = open_runner(path)
    try:
        times = runner.time_layers(runner.batch)
    finally:
        runner.close()
    title, precision, batch = path.stem.rsplit("-", 2)
    layers = [[name, kinds.get(name, ""), round(time, 2)] for name, time in times.items()]
    return {"model": title, "precision": precision, "batch": int(batch), "layers": layers}


def sum_up(layers: Layers, sorts: Sequence[str], sort_of: Callable[[str, str], str]) -> dict[str, float]:
    """Sum the microseconds of layers by sort, and in total.

    >>> layers = [["bn1.IN", "Myelin FP32", 2.0], ["conv1 + relu", "CaskConvolution Int8", 3.0]]
    >>> sum_up(layers, ["convolutions", "norms", "rest"], purpose_of)
    {'convolutions': 3.0, 'norms': 2.0, 'rest': 0.0, 'all': 5.0}
    """
    sums = dict.fromkeys(sorts, 0.0)
    for name, kind, time in layers:
        sums[sort_of(name, kind.partition(" ")[0])] += time
    return {**sums, "all": sum(sums.values())}


CONVOLUTIONS, FUSED, COPIES, REST = (
    "convolutions",
    "kernels of the fusing compiler",
    "copies and conversions",
    "rest",
)
SORTS = (CONVOLUTIONS, FUSED, COPIES, REST)


def sort_of(_name: str, kind: str) -> str:
    """The sort of a layer of any engine."""
    if "Conv" in kind:
        return CONVOLUTIONS
    if kind == "Myelin":
        return FUSED
    return COPIES if kind.endswith(("Reformat", "NoOp")) else REST


NORMS, WAY_IN = "norms", "the bytes' way in"
PURPOSES = (CONVOLUTIONS, NORMS, WAY_IN, COPIES, REST)


def purpose_of(name: str, kind: str) -> str:
    """The purpose of a layer of a fastrt engine, by its name."""
    sort = sort_of(name, kind)
    if sort == CONVOLUTIONS:
        return sort
    if ".IN" in name:
        return NORMS
    if name.startswith(("images", "{ForeignNode[images")):
        return WAY_IN
    return REST if sort == FUSED else sort


def list_rows(result: Row) -> list[Row]:
    """Sum fastrt's engines by the purpose of their layers, for a table."""
    return [
        {
            **{name: row[name] for name in ("model", "precision", "batch")},
            "layers": len(row["layers"]),
            **{f"{name}, us": round(time) for name, time in sum_up(row["layers"], PURPOSES, purpose_of).items()},
        }
        for row in result["rows"]
        if row["precision"] != PARSER
    ]


def list_parsed(result: Row) -> list[Row]:
    """Compare fastrt's and the parser's engines, where both exist, by sorts of layers that take any time."""
    engines = {engine_of(row): row for row in result["rows"]}
    rows = []
    for row in result["rows"]:
        if row["precision"] != PARSER or (ours := engines.get(engine_of({**row, "precision": "fp16"}))) is None:
            continue
        for by, layers in (("fastrt", ours["layers"]), ("the ONNX parser", row["layers"])):
            taken = [layer for layer in layers if layer[-1] > 0]
            counts = sum_up([(name, kind, 1) for name, kind, _ in taken], SORTS, sort_of)
            sums = {
                f"{name}, us (layers)": f"{time:.0f} ({counts[name]:.0f})"
                for name, time in sum_up(taken, SORTS, sort_of).items()
            }
            rows.append({"model": row["model"], "batch": row["batch"], "given by": by, **sums})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_layers", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    named = (path for path in sorted(folder.glob("*.engine")) if path.stem.rsplit("-", 2)[0] in TITLES)
    rows = [measure(path) for path in named]
    if not rows:
        parser.error(f"{folder} has no engine of a model to measure; build one first")
    save_here("tensorrt_layers", "tensorrt_layers FOLDER", rows, same=engine_of, columns=COLUMNS)
    for row in (*list_rows({"rows": rows}), *list_parsed({"rows": rows})):
        print(row)


if __name__ == "__main__":
    run_command(main)

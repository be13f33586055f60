"""Where the time of TensorRT engines goes: ``python -m benchmarks.tensorrt_layers FOLDER``.

Each layer of the engines that `benchmarks.tensorrt_speed` built, with its kind and format as the engine inspector names
them, and its microseconds by TensorRT's profiler.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fastrt.engine import list_layers, open_runner
from fastrt.machine import describe_machine
from fastrt.targets.tensorrt.cuda import describe_device
from fastrt.targets.tensorrt.dialect import find_dialect

RESULT = Path(__file__).parent / "results" / "tensorrt_layers.json"


def list_times(path: Path) -> list[list[object]]:
    """Name, kind and microseconds of each layer, for the largest batch."""
    kinds = {layer.name: layer.kind for layer in list_layers(path)}
    runner = open_runner(path)
    try:
        times = runner.time_layers(runner.batch)
    finally:
        runner.close()
    return [[name, kinds.get(name, ""), round(time, 2)] for name, time in times.items()]


def main(folder: Path) -> None:
    engines = {path.stem: list_times(path) for path in sorted(folder.glob("*.engine"))}
    for name, layers in engines.items():
        print(f"{name}: {len(layers)} layers, {sum(row[2] for row in layers):.0f} us")  # type: ignore[misc]
    machine = {**describe_machine(), "gpu": describe_device(0), "tensorrt": find_dialect("tensorrt").version}
    result = {"command": "python -m benchmarks.tensorrt_layers FOLDER", "columns": ["layer", "kind", "us"]}
    RESULT.write_text(json.dumps({**result, "machine": machine, "engines": engines}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

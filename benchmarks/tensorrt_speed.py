"""TensorRT engines on this machine's GPU, host to host.

``python -m benchmarks.tensorrt_speed build FOLDER MODEL BATCH [PRECISION]`` builds one, for one batch, with the model's
timing cache beside it, and notes the seconds; built again, it notes those with the cache. For int8 it takes the table
that ``calibrate FOLDER MODEL`` made there, which may have been on another machine, as that needs OpenVINO. ``python -m
benchmarks.tensorrt_speed measure FOLDER`` measures those that stand there, one after the other: uint8 images in
page-locked memory to float32 embeddings, through a session. Throughput is that of one call with sixteen batches, whose
copies and computations overlap.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.models import MODELS, SIZE, describe
from benchmarks.rows import Row, save_rows
from fastrt.benchmark.contest import warm_up
from fastrt.drawing import draw_person
from fastrt.engine_info import Precision
from fastrt.machine import describe_machine
from fastrt.targets.base import BuildOptions
from fastrt.targets.tensorrt.cuda import describe_device
from fastrt.targets.tensorrt.dialect import find_dialect

RESULT = Path(__file__).parent / "results" / "tensorrt_speed.json"
BATCHES = (1, 4, 32, 128)
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")
RUNS = 200
BATCHES_IN_FLIGHT = 16


def calibrate(title: str, folder: Path) -> Path:
    """Make a table for int8."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{title}.table.json"
    fastrt.calibrate(describe(title), [draw_person(i, 0, *SIZE) for i in range(32)]).save(path)
    return path


def build(title: str, batch: int, folder: Path, precision: Precision) -> dict[str, float]:
    """Build an engine; the seconds that it took, and what it took before."""
    network = describe(title)
    table = None
    if precision == "int8":
        # Drawn weights differ in their last bits from machine to machine, so the table is of another network by name.
        table = fastrt.read_table(folder / f"{title}.table.json").model_copy(
            update={"fingerprint": network.fingerprint()}
        )
    path = folder / f"{title}-{precision}-{batch}.engine"
    options = BuildOptions(batches=(batch,), timing_cache=folder / f"{title}.cache")
    seconds = read_seconds(path)
    start = time.perf_counter()
    fastrt.build(network, path, precision=precision, options=options, check=False, table=table)
    seconds["build_cached_s" if seconds else "build_s"] = round(time.perf_counter() - start, 1)
    path.with_suffix(".json").write_text(json.dumps(seconds))
    return seconds


def read_seconds(path: Path) -> dict[str, float]:
    """How long an engine took to build, if that was noted."""
    note = path.with_suffix(".json")
    seconds: dict[str, float] = json.loads(note.read_text()) if note.is_file() else {}
    return seconds


def measure(path: Path, batch: int) -> dict[str, float]:
    """Latency in ms, median and 99th percentile, and images a second."""
    people = np.stack([draw_person(i, 0, *SIZE) for i in range(8)])
    with fastrt.load(path) as session:
        images = session.pinned(batch * BATCHES_IN_FLIGHT)
        images[:] = np.resize(people, images.shape)
        one = images[:batch]
        warm_up(lambda: session(one))
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            session(one)
            times.append(1e3 * (time.perf_counter() - start))
        session(images)
        rates = []
        for _ in range(20):
            start = time.perf_counter()
            session(images)
            rates.append(len(images) / (time.perf_counter() - start))
    return {
        "median_ms": round(statistics.median(times), 3),
        "p99_ms": round(float(np.percentile(times, 99)), 3),
        "images_s": round(statistics.median(rates)),
    }


def measure_all(folder: Path) -> None:
    rows: list[Row] = []
    for title in MODELS:
        for batch in BATCHES:
            for precision in PRECISIONS:
                path = folder / f"{title}-{precision}-{batch}.engine"
                if path.is_file():
                    row = {"model": title, "precision": precision, "batch": batch}
                    rows.append({**row, **measure(path, batch), **read_seconds(path)})
                    print(rows[-1], flush=True)
                    save(rows)  # at once: time on a GPU may end at any moment


def save(rows: list[Row]) -> None:
    """Write rows to the results, where those of other engines stay that were measured on such a machine."""
    machine = {**describe_machine(), "gpu": describe_device(0), "tensorrt": find_dialect("tensorrt").version}
    command = "python -m benchmarks.tensorrt_speed measure FOLDER"
    save_rows(RESULT, command, machine, rows, same=engine_of, image_size=SIZE)


def engine_of(row: Row) -> tuple[int, str, int]:
    """What tells one engine from another."""
    return list(MODELS).index(row["model"]), row["precision"], row["batch"]


def main(verb: str, folder: Path, arguments: list[str]) -> None:
    if verb == "calibrate":
        print(calibrate(arguments[0], folder))
    elif verb == "build":
        precision = next(name for name in PRECISIONS if name == (arguments[2:] or ["fp16"])[0])
        print(*arguments, build(arguments[0], int(arguments[1]), folder, precision), flush=True)
    else:
        measure_all(folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])

"""TensorRT engines on this machine's GPU, host to host.

``python -m benchmarks.tensorrt_speed build FOLDER MODEL BATCH [PRECISION]`` builds one, for one batch, with the model's
timing cache beside it, and notes the seconds; built again, it notes those with the cache. For int8 it takes the table
that ``calibrate FOLDER MODEL`` made there, which may have been on another machine, as that needs OpenVINO. ``python -m
benchmarks.tensorrt_speed measure FOLDER [MODEL ...]`` measures those that stand there, one after the other: uint8
images in page-locked memory to float32 embeddings, through a session. Throughput is that of one call with sixteen
batches, whose copies and computations overlap; that on the device, of images that lie on the GPU and embeddings that
stay there.

``python -m benchmarks.tensorrt_speed mix FOLDER MODEL BATCH`` finds the convolutions that are slower in int8 than in
fp16, and what an engine gains by having them in fp16 (`fastrt.calibration.slower`). It takes engines that stand there.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import SIZE, TITLES, describe
from benchmarks.rows import GPU, Row, gpu_result, model_and_batch, save_rows
from fastrt.arrays import Array
from fastrt.calibration.images import draw_held_out
from fastrt.calibration.slower import keep_slower
from fastrt.drawing import draw_person
from fastrt.engine import describe as describe_engine
from fastrt.engine_info import EngineInfo, Precision
from fastrt.machine import describe_machine
from fastrt.targets.base import BuildOptions
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.dialect import find_dialect

BATCHES = (1, 4, 16, 32, 128, 256)
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")
CALIBRATED = 32
BATCHES_IN_FLIGHT = 16


def calibrate(title: str, folder: Path) -> Path:
    """Make a table for int8."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{title}.table.json"
    network = describe(title)
    fastrt.calibrate(network, draw_held_out((network.input.shape[1], network.input.shape[2]), CALIBRATED)).save(path)
    return path


def read_own_table(title: str, network: fastrt.Network, folder: Path) -> fastrt.CalibrationTable:
    """A model's table. Drawn weights differ in their last bits from machine to machine, so it is another's by name."""
    table = fastrt.read_table(folder / f"{title}.table.json")
    return table.model_copy(update={"fingerprint": network.fingerprint()})


def build(title: str, batch: int, folder: Path, precision: Precision) -> dict[str, float]:
    """Build an engine; the seconds that it took, and what it took before."""
    network = describe(title)
    table = read_own_table(title, network, folder) if precision == "int8" else None
    path = folder / f"{title}-{precision}-{batch}.engine"
    options = BuildOptions(batches=(batch,), timing_cache=folder / f"{title}.cache")
    seconds = read_seconds(path)
    start = time.perf_counter()
    fastrt.build(network, path, precision=precision, options=options, check=False, table=table)
    seconds["build_cached_s" if seconds else "build_s"] = round(time.perf_counter() - start, 1)
    path.with_suffix(".json").write_text(json.dumps(seconds))
    return seconds


def mix(title: str, batch: int, folder: Path) -> None:
    """Which convolutions int8 makes slower, and what comes of sparing them."""
    network = describe(title)
    table = read_own_table(title, network, folder)
    options = BuildOptions(batches=(batch,), timing_cache=folder / f"{title}.cache")

    def make(path: Path, precision: Precision, kept: Collection[str]) -> EngineInfo:
        standing = folder / f"{title}-{precision}-{batch}.engine"
        if standing.is_file() and not kept:
            shutil.copy(standing, path)
            return describe_engine(path)
        given = table if precision == "int8" else None
        return fastrt.build(network, path, precision=precision, options=options, check=False, table=given, kept=kept)

    pace = keep_slower(network, "tensorrt", (), make)
    row: Row = {"model": title, "batch": batch, "slower": list(pace.slower), "slower in int8": len(pace.slower)}
    row["kept in fp16"] = len(pace.kept)
    row |= {f"{name}, images/s": round(rates[batch]) for name, rates in pace.images_s.items()}
    print(row, flush=True)
    command = "python -m benchmarks.tensorrt_speed mix FOLDER MODEL BATCH"
    here = describe_here()
    save_rows(gpu_result(here["gpu"], "tensorrt_mix"), command, here, [row], same=model_and_batch, alike=GPU)


class OnDevice:
    """Images that lie on the GPU."""

    def __init__(self, images: Array) -> None:
        self._buffer = cuda.Buffer(images.nbytes)
        stream = cuda.Stream()
        stream.copy(self._buffer.pointer, images.ctypes.data, images.nbytes)
        stream.wait()
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": images.shape,
            "typestr": images.dtype.str,
            "data": (self._buffer.pointer, False),
            "strides": None,
        }


def read_seconds(path: Path) -> dict[str, float]:
    """How long an engine took to build, if that was noted."""
    note = path.with_suffix(".json")
    seconds: dict[str, float] = json.loads(note.read_text()) if note.is_file() else {}
    return seconds


def measure(path: Path, batch: int) -> dict[str, float]:
    """Latency in ms, median and 99th percentile, and images a second."""
    with fastrt.load(path) as session:
        height, width = session.info.image_size
        people = np.stack([draw_person(i, 0, height, width) for i in range(8)])
        images = session.pinned(batch * BATCHES_IN_FLIGHT)
        images[:] = np.resize(people, images.shape)
        timing = fastrt.benchmark(session, batch)
        resident = OnDevice(images)
        rates = {}
        runs: dict[str, Callable[[], object]] = {
            "images_s": partial(session, images),
            "images_s_on_device": partial(session.embed_on_device, resident),
        }
        for name, run in runs.items():
            run()
            found = []
            for _ in range(20):
                start = time.perf_counter()
                run()
                found.append(len(images) / (time.perf_counter() - start))
            rates[name] = round(statistics.median(found))
    return {
        "median_ms": round(timing.median_ms, 3),
        "p99_ms": round(timing.p99_ms, 3),
        **rates,
    }


def measure_all(folder: Path, titles: Sequence[str]) -> None:
    rows: list[Row] = []
    for title in titles:
        for batch in BATCHES:
            for precision in PRECISIONS:
                path = folder / f"{title}-{precision}-{batch}.engine"
                if path.is_file():
                    row = {"model": title, "precision": precision, "batch": batch}
                    rows.append({**row, **measure(path, batch), **read_seconds(path)})
                    print(rows[-1], flush=True)
                    save(rows)  # at once: time on a GPU may end at any moment


def describe_here() -> dict[str, Any]:
    return {**describe_machine(), "gpu": cuda.describe_device(0), "tensorrt": find_dialect("tensorrt").version}


def save(rows: list[Row]) -> None:
    """Write rows to the results, where those of other engines stay that were measured on such a machine."""
    command = "python -m benchmarks.tensorrt_speed measure FOLDER"
    here = describe_here()
    path = gpu_result(here["gpu"], "tensorrt_speed")
    save_rows(path, command, here, rows, same=engine_of, alike=GPU, image_size=SIZE)


def engine_of(row: Row) -> tuple[int, str, int]:
    """What tells one engine from another."""
    return TITLES.index(row["model"]), row["precision"], row["batch"]


def main(verb: str, folder: Path, arguments: list[str]) -> None:
    if verb == "calibrate":
        print(calibrate(arguments[0], folder))
    elif verb == "build":
        precision = next(name for name in PRECISIONS if name == (arguments[2:] or ["fp16"])[0])
        print(*arguments, build(arguments[0], int(arguments[1]), folder, precision), flush=True)
    elif verb == "mix":
        mix(arguments[0], int(arguments[1]), folder)
    else:
        measure_all(folder, arguments or TITLES)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])

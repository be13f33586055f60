"""Speed of TensorRT engines on this host's GPU, from host memory to host memory.

``python -m benchmarks.tensorrt_speed build FOLDER MODEL BATCH [PRECISION]`` builds one engine for one batch, with the
model's timing cache, and stores the build time; a second build stores the time with the cache. int8 needs the table of
``calibrate FOLDER MODEL`` in FOLDER. That step needs OpenVINO, so it may run on another host.

``python -m benchmarks.tensorrt_speed measure FOLDER MODEL`` measures the model's engines in FOLDER, through a session:
uint8 images in page-locked memory to float32 embeddings. Throughput is that of one call with 16 batches, whose
copies and computations overlap. Throughput on the device has images and embeddings in GPU memory.

``python -m benchmarks.tensorrt_speed mix FOLDER MODEL BATCH`` finds the convolutions that are slower in int8 than in
FP16, and the engine's gain from their exclusion (`fastrt.quantization.layer_timing`). It uses the engines in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Collection
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import SIZE, TITLES, describe
from benchmarks.results import SAME_GPU, Row, gpu_result, run_command, update_result
from fastrt.arrays import Array
from fastrt.engine.load import describe as describe_engine
from fastrt.images.drawing import draw_person
from fastrt.images.sample import draw_held_out
from fastrt.quantization.layer_timing import exclude_slower
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import find_capabilities
from fastrt.timing.clock import time_in_turn, timed
from fastrt.timing.host import describe_host

BATCHES = (1, 4, 16, 32, 128, 256)
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")
CALIBRATED = 32
BATCHES_IN_FLIGHT = 16
CALLS = 20
"""Timed calls for the throughput."""


def calibrate(title: str, folder: Path) -> Path:
    """Make a calibration table for int8."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{title}.table.json"
    network = describe(title)
    fastrt.calibrate(network, draw_held_out((network.input.shape[1], network.input.shape[2]), CALIBRATED)).save(path)
    return path


def read_own_table(title: str, network: fastrt.Network, folder: Path) -> fastrt.CalibrationTable:
    """Read a model's table, and adopt it for this host's network.

    Drawn weights differ in their last bits between hosts, so the table has another fingerprint.
    """
    table = fastrt.read_table(folder / f"{title}.table.json")
    return table.model_copy(update={"fingerprint": network.fingerprint()})


def build(title: str, batch: int, folder: Path, precision: Precision) -> dict[str, float]:
    """Build an engine; returns its build time in seconds, and those of earlier builds."""
    network = describe(title)
    table = read_own_table(title, network, folder) if precision == "int8" else None
    path = folder / f"{title}-{precision}-{batch}.engine"
    options = BuildOptions(batches=(batch,), timing_cache=folder / f"{title}.cache")
    seconds = read_seconds(path)
    make = partial(fastrt.build, network, path, precision=precision, options=options, check=False, table=table)
    seconds["build_cached_s" if seconds else "build_s"] = round(timed(make)[0], 1)
    path.with_suffix(".json").write_text(json.dumps(seconds))
    return seconds


def mix(title: str, batch: int, folder: Path) -> None:
    """Find the convolutions that are slower in int8, and the gain from their exclusion."""
    network = describe(title)
    table = read_own_table(title, network, folder)
    options = BuildOptions(batches=(batch,), timing_cache=folder / f"{title}.cache")

    def make(path: Path, precision: Precision, kept: Collection[str]) -> EngineInfo:
        standing = folder / f"{title}-{precision}-{batch}.engine"
        if standing.is_file() and not kept:
            shutil.copy(standing, path)
            return describe_engine(path)
        given = table if precision == "int8" else None
        made = fastrt.build(network, path, precision=precision, options=options, check=False, table=given, kept=kept)
        return made.info

    pace = exclude_slower(network, "tensorrt", (), make)
    row: Row = {"model": title, "batch": batch, "slower": list(pace.slower), "slower in int8": len(pace.slower)}
    row["excluded from int8"] = len(pace.kept)
    row |= {f"{name}, images/s": round(rates[batch]) for name, rates in pace.images_s.items()}
    print(row, flush=True)
    save("tensorrt_mix", "mix FOLDER MODEL BATCH", row)


class OnDevice:
    """Images in GPU memory."""

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
    """Read the stored build times of an engine, if any."""
    note = path.with_suffix(".json")
    seconds: dict[str, float] = json.loads(note.read_text()) if note.is_file() else {}
    return seconds


def measure(path: Path, batch: int) -> dict[str, float]:
    """Measure the latency in ms, median and 99th percentile, and the images/s."""
    with fastrt.load(path) as session:
        height, width = session.info.image_size
        people = np.stack([draw_person(i, 0, height, width) for i in range(8)])
        images = session.pinned(batch * BATCHES_IN_FLIGHT)
        images[:] = np.resize(people, images.shape)
        timing = fastrt.benchmark(session, batch)
        resident = OnDevice(images)
        runs: dict[str, Callable[[], object]] = {
            "images_s": partial(session, images),
            "images_s_on_device": partial(session.embed_on_device, resident),
        }
        rates = {name: round(len(images) / seconds) for name, (seconds,) in time_in_turn(runs, calls=CALLS).items()}
    return {
        "median_ms": round(timing.median_ms, 3),
        "p99_ms": round(timing.p99_ms, 3),
        **rates,
    }


def measure_all(folder: Path, title: str) -> int:
    """Measure all engines of a model; returns how many there are."""
    found = 0
    for batch, precision in product(BATCHES, PRECISIONS):
        path = folder / f"{title}-{precision}-{batch}.engine"
        if path.is_file():
            row = {"model": title, "precision": precision, "batch": batch}
            row |= {**measure(path, batch), **read_seconds(path)}
            print(row, flush=True)
            # Saved at once, because access to a GPU may end at any moment.
            save("tensorrt_speed", "measure FOLDER MODEL", row, image_size=SIZE)
            found += 1
    return found


def save(name: str, command: str, row: Row, **more: Any) -> None:
    """Write a row to this GPU model's result."""
    gpu = cuda.describe_device(0)
    host = {**describe_host(), "gpu": gpu, "tensorrt": find_capabilities("tensorrt").version}
    update_result(gpu_result(gpu, name), f"tensorrt_speed {command}", [row], host=host, same=SAME_GPU, **more)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_speed", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("calibrate", "build", "mix", "measure"):
        command = verbs.add_parser(verb)
        command.add_argument("folder", type=Path)
        command.add_argument("model", choices=TITLES)
        if verb in ("build", "mix"):
            command.add_argument("batch", type=int)
        if verb == "build":
            command.add_argument("precision", nargs="?", choices=PRECISIONS, default="fp16")
    given = parser.parse_args()
    if given.verb == "calibrate":
        print(calibrate(given.model, given.folder))
    elif given.verb == "build":
        seconds = build(given.model, given.batch, given.folder, given.precision)
        print(given.model, given.batch, given.precision, seconds, flush=True)
    elif given.verb == "mix":
        mix(given.model, given.batch, given.folder)
    elif not measure_all(given.folder, given.model):
        parser.error(f"{given.folder} has no engine of {given.model}; build one first")


if __name__ == "__main__":
    run_command(main)

"""Everything that is measured on NVIDIA GPUs, and the tests: ``python -m benchmarks.on_gpu FOLDER TENSORRT TORCH``.

TENSORRT and TORCH are commands that run a Python, as those of TensorRT and of PyTorch may differ. FOLDER is to hold
what a machine without OpenVINO cannot make: the tables that ``benchmarks.tensorrt_speed calibrate`` makes, and, under
``demo``, what ``benchmarks.demo_scores`` looks for. Engines are built two at a time on each GPU; what is timed has a
GPU to itself. Each step leaves its log in ``FOLDER/logs``, and is not taken again once it has succeeded, so that a run
that was broken off goes on. Exits with 1 if a step failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

SIDE_BY_SIDE = 2
"""Builds on one GPU; with more, kernels are timed in each other's way."""

ENGINES: dict[str, dict[str, tuple[int, ...]]] = {
    "R50-NL-IBN": {"fp16": (1, 4, 32, 128), "int8": (1, 32, 128)},
    "R34": {"fp16": (1, 4, 32, 128), "int8": (1, 32, 128)},
    "R34-distill": {"fp16": (1, 4, 32)},
    "R50": {"int8": (256,)},
}
PARSED = {"R50-NL-IBN": (1, 32, 4), "R34": (1, 32, 4), "R34-distill": (1,)}
MIXED = (("R50-NL-IBN", 1), ("R50-NL-IBN", 32), ("R34", 1))


@dataclass(frozen=True)
class Step:
    """One command: its name, which Python runs it, and what it runs."""

    name: str
    python: str
    arguments: str


def list_steps(folder: Path) -> tuple[list[Step], list[Step], list[list[Step]]]:
    """What is done first, then the builds, then what is timed: a list for each of two GPUs."""
    speed, peers = "-m benchmarks.tensorrt_speed", "-m benchmarks.gpu_peers"
    exports = [Step(f"export-{model}", "torch", f"{peers} export {folder} {model}") for model in PARSED]
    builds = [
        Step(f"{model}-{precision}-{batch}", "tensorrt", f"{speed} build {folder} {model} {batch} {precision}")
        for model, precisions in ENGINES.items()
        for precision, batches in precisions.items()
        for batch in batches
    ]
    # After our own engines, whose timings they share.
    builds += [
        Step(f"{model}-parser-{batch}", "tensorrt", f"{peers} parse {folder} {model} {batch}")
        for model, batches in PARSED.items()
        for batch in batches
    ]
    compared = [
        Step("measure", "tensorrt", f"{speed} measure {folder}"),
        *(
            Step(f"torch-{model}", "torch", f"{peers} torch {folder} {model} {','.join(map(str, sorted(batches)))}")
            for model, batches in PARSED.items()
        ),
        Step("engines", "tensorrt", f"{peers} engines {folder}"),
    ]
    others = [
        Step("demo", "tensorrt", f"-m benchmarks.demo_scores tensorrt {folder / 'demo'}"),
        Step("layers", "tensorrt", f"-m benchmarks.tensorrt_layers {folder}"),
        *(Step(f"mix-{model}-{batch}", "tensorrt", f"{speed} mix {folder} {model} {batch}") for model, batch in MIXED),
        Step("tests", "tensorrt", "-m pytest -m gpu -n 4 tests/gpu"),
    ]
    return exports, builds, [compared, others]


class Runner:
    """Takes steps, each on one GPU."""

    def __init__(self, folder: Path, pythons: dict[str, str]) -> None:
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._pythons = pythons
        self.failed = False

    def take(self, step: Step, gpu: int) -> None:
        done = self._logs / f"{step.name}.done"
        if done.exists():
            return
        start = time.monotonic()
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu)}
        command = f"{self._pythons[step.python]} {step.arguments}"
        with (self._logs / f"{step.name}.log").open("w") as log:
            ended = subprocess.run(command, shell=True, check=False, stdout=log, stderr=log, env=environment)
        print(f"{step.name} on GPU {gpu}: {time.monotonic() - start:.0f} s, exit status {ended.returncode}", flush=True)
        if ended.returncode == 0:
            done.touch()
        else:
            self.failed = True

    def share(self, steps: Sequence[Step], gpus: int, side_by_side: int) -> None:
        """All steps, each wherever there is room first."""
        rooms: Queue[int] = Queue()
        for gpu in list(range(gpus)) * side_by_side:
            rooms.put(gpu)

        def take(step: Step) -> None:
            gpu = rooms.get()
            try:
                self.take(step, gpu)
            finally:
                rooms.put(gpu)

        with ThreadPoolExecutor(gpus * side_by_side) as threads:
            list(threads.map(take, steps))

    def queue(self, steps: Sequence[Step], gpu: int) -> None:
        for step in steps:
            self.take(step, gpu)


def main(folder: Path, tensorrt: str, torch: str) -> None:
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], check=True, capture_output=True, text=True).stdout
    gpus = len(listed.splitlines())
    runner = Runner(folder, {"tensorrt": tensorrt, "torch": torch})
    exports, builds, timed = list_steps(folder)
    runner.share(exports, gpus, SIDE_BY_SIDE)
    runner.share(builds, gpus, SIDE_BY_SIDE)
    if gpus == 1:
        timed = [[step for steps in timed for step in steps]]
    with ThreadPoolExecutor(len(timed)) as threads:
        list(threads.map(runner.queue, timed, range(len(timed))))
    sys.exit(runner.failed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

"""Runs all GPU benchmarks and the tests: ``python -m benchmarks.on_gpu FOLDER TENSORRT TORCH [STEP ...]``.

TENSORRT and TORCH are commands that run Python with TensorRT and with PyTorch; they may differ. FOLDER must have the
files that need OpenVINO: the tables of ``benchmarks.tensorrt_speed calibrate`` and, under ``demo``, the input of
``benchmarks.demo_scores``. STEP is a step's name or a pattern such as ``R34-*``: only these steps run, in the given
order. ``list`` shows all names.

Two engines are built at a time on each GPU; timed steps have a GPU alone. Each step writes its log to
``FOLDER/logs``. A successful step is not repeated, so an interrupted run can continue. Exits with 1 if a step failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from queue import Queue
from shlex import quote

SIDE_BY_SIDE = 2
"""Parallel builds per GPU; more would disturb each other's kernel timing."""

BATCHES = (1, 4, 16, 32, 128)
COMPARED: dict[str, tuple[int, ...]] = {
    "R50-NL-IBN": BATCHES,
    "R34": BATCHES,
    "R34-distill": BATCHES,
    "R50-NL-IBN 384x128": (1, 32),
}
"""FP16 engines to compare with alternatives, by batch."""

IN_INT8 = {"R50-NL-IBN": (1, 32, 128), "R34": (1, 32, 128), "R50": (256,)}
MEASURED = dict.fromkeys((*COMPARED, *IN_INT8))
MIXED = (("R50-NL-IBN", 1), ("R50-NL-IBN", 32), ("R34", 1))


@dataclass(frozen=True)
class Step:
    """One command: its name, its Python, and its arguments."""

    name: str
    python: str
    arguments: str


@dataclass(frozen=True)
class Phase:
    """Steps that wait for all earlier phases, but not for each other."""

    side_by_side: int
    steps: tuple[Step, ...]


def list_phases(folder: Path) -> list[Phase]:
    """List all phases in order."""

    def step(name: str, python: str, module: str, verb: str = "", *arguments: object) -> Step:
        words = [*([verb] if verb else []), str(folder), *map(str, arguments)]
        return Step(name, python, f"-m benchmarks.{module} {' '.join(map(quote, words))}")

    def list_rows(rows: dict[str, tuple[int, ...]]) -> list[tuple[str, int]]:
        return [(title, batch) for title, batches in rows.items() for batch in batches]

    def build(precision: str, rows: dict[str, tuple[int, ...]]) -> list[Step]:
        return [
            step(f"{title}-{precision}-{batch}", "tensorrt", "tensorrt_speed", "build", title, batch, precision)
            for title, batch in list_rows(rows)
        ]

    def compare(verb: str, python: str) -> list[Step]:
        return [
            step(f"{title}-{verb}-{batch}", python, "gpu_peers", verb, title, batch)
            for title, batch in list_rows(COMPARED)
        ]

    exports = [step(f"{title}-export", "torch", "gpu_peers", "export", title) for title in COMPARED]
    mixes = [step(f"{title}-mix-{batch}", "tensorrt", "tensorrt_speed", "mix", title, batch) for title, batch in MIXED]
    tests = Step("tests", "tensorrt", "-m pytest -m gpu tests/gpu")
    demo = Step("demo", "tensorrt", f"-m benchmarks.demo_scores tensorrt {quote(str(folder / 'demo'))}")
    return [
        Phase(SIDE_BY_SIDE, (*exports, *build("fp16", COMPARED), *build("int8", IN_INT8))),
        Phase(1, (*mixes, *compare("torch", "torch"))),
        # After fastrt's own engines, because the parser shares their timing caches.
        Phase(SIDE_BY_SIDE, (*compare("parse", "tensorrt"), tests)),
        Phase(
            1,
            (
                *(step(f"{title}-measure", "tensorrt", "tensorrt_speed", "measure", title) for title in MEASURED),
                *(step(f"{title}-engines", "tensorrt", "gpu_peers", "engines", title) for title in COMPARED),
                demo,
            ),
        ),
        Phase(1, (Step("roofline", "torch", "-m benchmarks.roofline gpu"),)),  # needs the measured rates
    ]


class Runner:
    """Runs steps, each on one GPU."""

    def __init__(self, folder: Path, pythons: dict[str, str], gpus: int) -> None:
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._pythons = pythons
        self._gpus = gpus
        self.failed = False

    def take(self, phase: Phase) -> None:
        """Run all steps of a phase in order, each on the first free GPU."""
        rooms: Queue[int] = Queue()
        for gpu in list(range(self._gpus)) * phase.side_by_side:
            rooms.put(gpu)

        def take(step: Step) -> None:
            gpu = rooms.get()
            try:
                self._take(step, gpu)
            finally:
                rooms.put(gpu)

        with ThreadPoolExecutor(self._gpus * phase.side_by_side) as threads:
            list(threads.map(take, phase.steps))

    def _take(self, step: Step, gpu: int) -> None:
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


def choose(phase: Phase, patterns: Sequence[str]) -> Phase:
    """Select the requested steps of a phase, in the requested order."""
    chosen = (step for pattern in patterns for step in phase.steps if fnmatch(step.name, pattern))
    return Phase(phase.side_by_side, tuple(dict.fromkeys(chosen)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_gpu", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tensorrt")
    parser.add_argument("torch")
    parser.add_argument("step", nargs="*", default=["*"])
    given = parser.parse_args()
    phases = list_phases(given.folder)
    names = [step.name for phase in phases for step in phase.steps]
    if given.step == ["list"]:
        print("\n".join(names))
        return
    if unknown := [pattern for pattern in given.step if not any(fnmatch(name, pattern) for name in names)]:
        parser.error(f"no step is named {unknown[0]}; list names all")
    if shutil.which("nvidia-smi") is None:
        parser.error("there is no nvidia-smi, so no GPU to measure on")
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], check=True, capture_output=True, text=True).stdout
    runner = Runner(given.folder, {"tensorrt": given.tensorrt, "torch": given.torch}, len(listed.splitlines()))
    for phase in phases:
        runner.take(choose(phase, given.step))
    sys.exit(runner.failed)


if __name__ == "__main__":
    main()

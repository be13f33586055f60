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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from queue import Queue
from shlex import quote

from fastrt.timing.clock import timed

SIDE_BY_SIDE = 2
"""Parallel builds per GPU; more would disturb each other's kernel timing."""

BATCHES = (1, 4, 16, 32, 128)
Batches = dict[str, tuple[int, ...]]
"""Batch sizes by model."""

COMPARED: Batches = {
    "R50-NL-IBN": BATCHES,
    "R34": BATCHES,
    "R34-distill": BATCHES,
    "R50-NL-IBN 384x128": (1, 32),
}
"""FP16 engines to compare with alternatives, by batch."""

IN_INT8: Batches = {"R50-NL-IBN": (1, 32, 128), "R34": (1, 32, 128), "R50": (256,)}
MEASURED = dict.fromkeys((*COMPARED, *IN_INT8))
MIXED: Batches = {"R50-NL-IBN": (1, 32), "R34": (1,)}


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

    def step(name: str, python: str, module: str, verb: str, *arguments: object) -> Step:
        words = " ".join(quote(str(word)) for word in (folder, *arguments))
        return Step(name, python, f"-m benchmarks.{module} {verb} {words}")

    def each(name: str, rows: Batches, python: str, module: str, verb: str, *more: str) -> list[Step]:
        return [
            step(f"{title}-{name}-{batch}", python, module, verb, title, batch, *more)
            for title, batches in rows.items()
            for batch in batches
        ]

    fp16, int8 = (
        each(precision, rows, "tensorrt", "tensorrt_speed", "build", precision)
        for precision, rows in (("fp16", COMPARED), ("int8", IN_INT8))
    )
    exports = [step(f"{title}-export", "torch", "gpu_peers", "export", title) for title in COMPARED]
    mixes = each("mix", MIXED, "tensorrt", "tensorrt_speed", "mix")
    eager = each("torch", COMPARED, "torch", "gpu_peers", "torch")
    parsed = each("parse", COMPARED, "tensorrt", "gpu_peers", "parse")
    measures = [step(f"{title}-measure", "tensorrt", "tensorrt_speed", "measure", title) for title in MEASURED]
    engines = [step(f"{title}-engines", "tensorrt", "gpu_peers", "engines", title) for title in COMPARED]
    tests = Step("tests", "tensorrt", "-m pytest -m gpu tests/gpu")
    demo = Step("demo", "tensorrt", f"-m benchmarks.demo_scores tensorrt {quote(str(folder / 'demo'))}")
    return [
        Phase(SIDE_BY_SIDE, (*exports, *fp16, *int8)),
        Phase(1, (*mixes, *eager)),
        Phase(SIDE_BY_SIDE, (*parsed, tests)),  # after fastrt's engines: the parser shares their timing caches
        Phase(1, (*measures, *engines, demo)),
        Phase(1, (Step("roofline", "torch", "-m benchmarks.roofline gpu"),)),  # needs the measured rates
    ]


def run_phase(phase: Phase, logs: Path, pythons: dict[str, str], gpus: int) -> bool:
    """Run all steps of a phase in order, each on the first free GPU; returns whether all succeeded."""
    idle: Queue[int] = Queue()
    for gpu in list(range(gpus)) * phase.side_by_side:
        idle.put(gpu)

    def run(step: Step) -> bool:
        gpu = idle.get()
        try:
            return run_step(step, logs, pythons[step.python], gpu)
        finally:
            idle.put(gpu)

    with ThreadPoolExecutor(gpus * phase.side_by_side) as threads:
        return all(list(threads.map(run, phase.steps)))


def run_step(step: Step, logs: Path, python: str, gpu: int) -> bool:
    done = logs / f"{step.name}.done"
    if done.exists():
        return True
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu)}
    with (logs / f"{step.name}.log").open("w") as log:
        call = partial(
            subprocess.run, f"{python} {step.arguments}", shell=True, stdout=log, stderr=log, env=environment
        )
        seconds, ended = timed(call)
    print(f"{step.name} on GPU {gpu}: {seconds:.0f} s, exit status {ended.returncode}", flush=True)
    if ended.returncode == 0:
        done.touch()
    return bool(ended.returncode == 0)


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
    pythons, logs = {"tensorrt": given.tensorrt, "torch": given.torch}, given.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    passed = [run_phase(choose(phase, given.step), logs, pythons, len(listed.splitlines())) for phase in phases]
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()

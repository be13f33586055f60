"""Puts together what is known about the host, its runtimes and the targets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastrt.doctor.probe import NOT_INSTALLED, RUNTIMES, find_module
from fastrt.targets.table import ROWS
from fastrt.timing.host import describe_host, read_cpu_flags

TIMEOUT_S = 120.0
"""Time for a runtime to answer."""

FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni", "asimddp", "i8mm"),
    "BF16": ("avx512_bf16", "amx_bf16", "bf16"),
    "FP16": ("avx512_fp16", "amx_fp16", "asimdhp"),
    "AMX": ("amx_int8", "amx_tile"),
}
"""Features of CPUs that decide about precisions, with the flags of x86-64 and ARM that mean them."""

SCRIPT = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fastrt.doctor.probe import main
main(*sys.argv[2:])
"""

WORKERS = 4
"""Processes at a time."""


@dataclass(frozen=True)
class RuntimeState:
    """A runtime on this host.

    Attributes:
        name: its package.
        purpose: what fastrt uses it for.
        version: None if it is not installed, or does not say.
        problem: why it cannot be used; None if it can.
        install: the command that mends it; None if nothing is to be mended.
    """

    name: str
    purpose: str
    version: str | None
    problem: str | None
    install: str | None


@dataclass(frozen=True)
class TargetState:
    """A target on this host.

    Attributes:
        name: the target.
        version: runtime and version; None if it does not load.
        precisions: those in which it computes here.
        failing: precisions that it lists or that other hosts have, with the reason.
        int8_is_fast: whether int8 has instructions of its own here; None if unknown or not available.
        int8: the reason.
        problem: why it computes in no precision; None if it computes.
        install: the commands that install what is missing.
    """

    name: str
    version: str | None
    precisions: tuple[str, ...]
    failing: Mapping[str, str]
    int8_is_fast: bool | None
    int8: str
    problem: str | None
    install: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """The host, its runtimes and the targets; ``host`` as described by `describe`."""

    host: Mapping[str, Any]
    runtimes: tuple[RuntimeState, ...]
    targets: tuple[TargetState, ...]


def diagnose() -> Diagnosis:
    """Examine the host. A runtime that is broken, ends its process or does not answer is reported, never raised."""
    features = list_features()
    with ThreadPoolExecutor(WORKERS) as pool:
        gpus = pool.submit(_probe, "gpus", "") if find_module("cuda-bindings") else None
        runtimes = tuple(pool.map(_examine_runtime, RUNTIMES))
        problems = {state.name: state for state in runtimes if state.problem is not None}
        targets = tuple(pool.map(lambda name: _examine_target(name, features, problems), ROWS))
    found = [] if gpus is None else gpus.result().get("gpus", [])
    known = {name: value for name, value in describe_host().items() if name not in ("openvino", "onnxruntime")}
    known.pop("vector_extensions")
    host = {**known, "features": features, "memory_gb": measure_memory(), "gpus": found}
    return Diagnosis(host, runtimes, targets)


def list_features() -> dict[str, bool | None]:
    """List the features of the CPU; None for each if the operating system does not tell."""
    flags = read_cpu_flags()
    return {name: any(flag in flags for flag in any_of) if flags else None for name, any_of in FEATURES.items()}


def measure_memory() -> dict[str, float | None]:
    """Measure the memory in GB of 10^9 bytes: ``total`` of the host, or a container's limit, and ``available``."""
    path, limit = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
    lines = path.read_text().splitlines() if path.is_file() else []
    sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    total = sizes.get("MemTotal")
    if total is None and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total is not None and limit.is_file() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    available = sizes.get("MemAvailable")
    return {
        "total": None if total is None else round(total / 1e9, 1),
        "available": None if available is None or total is None else round(min(available, total) / 1e9, 1),
    }


def _examine_runtime(name: str) -> RuntimeState:
    runtime = RUNTIMES[name]
    module = find_module(name)
    if module is None:
        return RuntimeState(name, runtime.purpose, None, NOT_INSTALLED, runtime.install)
    found = _probe("runtime", name)
    problem = found.get("problem")
    if problem == NOT_INSTALLED:
        return RuntimeState(name, runtime.purpose, None, problem, runtime.install)
    number = (found.get("version") or _installed_version(name) or "").split("-")[0] or None
    mend = f"pip install --force-reinstall {runtime.packages}"
    return RuntimeState(name, runtime.purpose, number, problem, None if problem is None else mend)


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _examine_target(
    name: str, features: Mapping[str, bool | None], problems: Mapping[str, RuntimeState]
) -> TargetState:
    needed = [problems[runtime] for runtime in NEEDED[name] if runtime in problems]
    install = tuple(dict.fromkeys(str(state.install) for state in needed))
    found: dict[str, Any] = {}
    if not any(state.problem == NOT_INSTALLED for state in needed):
        found = _probe("target", name)
    tried: dict[str, str | None] = found.get("precisions", {})
    computes = tuple(precision for precision, reason in tried.items() if reason is None)
    failing = {precision: reason for precision, reason in tried.items() if reason is not None}
    failing |= {p: "this host lacks it" for p in ROWS[name].precisions if tried and p not in tried}
    problem = None
    if not computes:
        missing = "; ".join(f"{state.name}: {state.problem}" for state in needed)
        problem = found.get("problem") or missing or next(iter(failing.values()), "it computes in no precision")
    is_fast, reason = _rate_int8(name, features) if "int8" in computes else (None, "not available")
    return TargetState(name, found.get("version"), computes, failing, is_fast, reason, problem, install)


NEEDED = {
    "openvino": ("openvino",),
    "onnx": ("onnx", "onnxruntime"),
    "reference": (),
    "tensorrt": ("tensorrt", "cuda-bindings"),
    "tensorrt-rtx": ("tensorrt-rtx", "cuda-bindings"),
}
"""The runtimes that each target needs."""


def _rate_int8(name: str, features: Mapping[str, bool | None]) -> tuple[bool | None, str]:
    """Say whether int8 is fast, and why. The factors are those of docs/how-to/choose-a-precision.md."""
    if name == "reference":
        return False, "computed in float64"
    if ROWS[name].device != "cpu":
        return True, "tensor cores"
    narrowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if (
        name == "openvino"
        and narrowed
        and not any(word in narrowed for word in ("VNNI", "16", "AMX", "DEFAULT", "ALL"))
    ):
        return False, f"ONEDNN_MAX_CPU_ISA={narrowed} forbids VNNI"
    if features["AMX"]:
        return True, "AMX: 5 to 8 times as fast as fp32"
    if features["VNNI"]:
        return True, "VNNI: about 3 times as fast as fp32"
    if features["AVX2"]:
        return False, "AVX2 without VNNI: about twice as fast as fp32"
    return None, "the CPU's features are unknown"


def _probe(kind: str, name: str) -> dict[str, Any]:
    """Run a probe in a process of its own; a process that fails gives its reason as ``problem``."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(sys.path), kind, name]
    try:
        done = subprocess.run(  # noqa: S603 (this interpreter, with arguments of fastrt)
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"no answer within {TIMEOUT_S:.0f} s"}
    except OSError as error:
        return {"problem": f"no process can be started: {error.strerror}"}
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "no message")
        ended = f"signal {signal.Signals(-done.returncode).name}" if done.returncode < 0 else f"code {done.returncode}"
        return {"problem": f"its process ended with {ended}: {last}"}
    return found

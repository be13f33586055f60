"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe_machine() -> dict[str, object]:
    """Processor, cores, system, and the versions of what was measured."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "vector_extensions": _extensions(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("fastrt", "openvino", "onnxruntime", "numpy")},
    }


def warm_up(work: Callable[[], object], seconds: float = 2.0) -> None:
    """Do what will be timed until a GPU has reached its full clocks, which takes it a second."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        work()


def _processor() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _extensions() -> list[str]:
    flags = next((line for line in _cpuinfo() if line.startswith("flags")), "").split()
    return [
        name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile") if name in flags
    ]


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

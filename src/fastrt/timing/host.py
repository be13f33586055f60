"""Describes the host that a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe_host() -> dict[str, object]:
    """Describe the host: CPU, cores, driver, system, versions, and the limit on oneDNN's instruction set, if set."""
    return {
        "processor": find_processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "vector_extensions": _extensions(),
        "narrowed_to": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "governor": _governor(),
        "nvidia_driver": _driver(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("fastrt", "openvino", "onnxruntime", "numpy")},
    }


def find_processor() -> str:
    """Return the name of the CPU, as the operating system reports it."""
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def read_cpu_flags() -> list[str]:
    """Return the CPU's features, as Linux names them; empty on other systems."""
    return next((line for line in _cpuinfo() if line.startswith(("flags", "Features"))), "").split()


def _extensions() -> list[str]:
    flags = read_cpu_flags()
    return [
        name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile") if name in flags
    ]


def _governor() -> str | None:
    """Return the CPU frequency governor, if the operating system reports it."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.is_file() else None


def _driver() -> str | None:
    """Return the version of the NVIDIA driver, if one is installed."""
    path = Path("/proc/driver/nvidia/version")
    found = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", path.read_text()) if path.is_file() else None
    return found and found[0]


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

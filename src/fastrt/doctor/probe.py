"""Tries one runtime, one target or the GPUs in this process, which `fastrt.doctor.diagnosis` starts for it.

A broken runtime may end the process, print, or never return. So each is tried in a process of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from fastrt.engine.build import EngineConfig, build
from fastrt.engine.calibration_table import CalibrationTable, TensorRange
from fastrt.engine.load import load
from fastrt.ir.network import INPUT, OUTPUT, Network, make_tensor
from fastrt.ir.ops import Convolution, Input, ReduceMean, Relu, Reshape, ScaleShift
from fastrt.passes import simplify
from fastrt.passes.quantize import list_sites
from fastrt.targets.engine_info import Precision
from fastrt.targets.registry import find_target
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import MODULES
from fastrt.version import __version__

NOT_INSTALLED = "not installed"

SIZE = (16, 8)
"""Height and width of the images that a target is tried with."""


@dataclass(frozen=True)
class Runtime:
    """A package that fastrt can use.

    Attributes:
        modules: its modules, best first.
        purpose: what fastrt uses it for.
        install: the command that installs it.
        packages: its packages, to install again what is broken.
    """

    modules: tuple[str, ...]
    purpose: str
    install: str
    packages: str


_TENSORRT = "pip install 'fastrt[tensorrt]'"
_REPORT = "pip install 'fastrt[report]'"

_ONNX = "pip install 'fastrt[onnx]'"
_RTX = "pip install 'fastrt[tensorrt-rtx]'"

RUNTIMES = {
    "openvino": Runtime(("openvino",), "target openvino", "pip install openvino", "openvino"),
    "onnx": Runtime(("onnx",), "target onnx, to build", _ONNX, "onnx"),
    "onnxruntime": Runtime(("onnxruntime",), "target onnx, to run", _ONNX, "onnxruntime"),
    "tensorrt": Runtime(MODULES["tensorrt"], "target tensorrt", _TENSORRT, "tensorrt"),
    "tensorrt-rtx": Runtime(
        MODULES["tensorrt-rtx"],
        "target tensorrt-rtx",
        _RTX,
        "tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs",
    ),
    "cuda-bindings": Runtime(("cuda.bindings.runtime",), "GPUs", _TENSORRT, "cuda-bindings"),
    "opencv": Runtime(
        ("cv2",), "resamplers cv2-cubic and cv2-linear", "pip install 'fastrt[opencv]'", "opencv-python-headless"
    ),
    "matplotlib": Runtime(("matplotlib",), "plots", _REPORT, "matplotlib"),
    "jinja2": Runtime(("jinja2",), "evaluation reports", _REPORT, "jinja2"),
}
"""All runtimes, and the packages of extras, by name."""


def find_module(name: str) -> str | None:
    """Find the module of a runtime without importing anything; None if none is installed."""
    modules = (module for module in RUNTIMES[name].modules if importlib.util.find_spec(module.partition(".")[0]))
    return next(modules, None)


def probe_runtime(name: str) -> dict[str, object]:
    """Import a runtime and return its version."""
    module = str(find_module(name))
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            return {"problem": NOT_INSTALLED}
        raise
    return {"version": getattr(imported, "__version__", None)}


def probe_gpus(_: str) -> dict[str, object]:
    """List the GPUs that CUDA finds."""
    return {"gpus": [cuda.describe_device(i) for i in range(cuda.count_devices())]}


def probe_target(name: str) -> dict[str, object]:
    """Find the precisions in which a target computes here.

    A target of the CPU builds and runs a small network in each. A target of GPUs is asked only, as its builds are slow.
    """
    target = find_target(name)
    precisions: dict[Precision, str | None] = dict.fromkeys(cast(Sequence[Precision], target.precisions()))
    if target.row.device == "cpu":
        precisions = {precision: _try(name, precision) for precision in precisions}
    elif cuda.count_devices() == 0:
        ability = "engines can be built here, but not run" if target.builds_elsewhere else "nothing can be built"
        precisions = dict.fromkeys(precisions, f"no NVIDIA GPU or no driver: {ability}")
    return {"version": target.version(), "precisions": precisions}


def _try(name: str, precision: Precision) -> str | None:
    """Build and run a small network; return the reason if that fails."""
    network = _make_network()
    sites = list_sites(simplify(network))
    table = CalibrationTable(
        fastrt=__version__,
        fingerprint=network.fingerprint(),
        method="minmax",
        image_size=SIZE,
        resampler="pil-bicubic",
        images=("0",),
        images_hash="",
        ranges={site: TensorRange(low=0, high=1, amax=1, saturated=0) for site in sites},
        means={},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"probe{find_target(name).suffix}"
        try:
            config = EngineConfig(precision, check=False, table=table if precision == "int8" else None)
            build(network, path, config)
            with load(path) as session:
                rows = session(np.full((1, *SIZE, 3), 128, np.uint8))
        except Exception as error:
            return explain(error)
        return None if np.isfinite(rows).all() else "the embedding is not finite"


def _make_network() -> Network:
    """Make two convolutions with a mean over all pixels."""
    rng = np.random.default_rng(0)
    tensors = [make_tensor(INPUT, Input((3, *SIZE)), ())]
    tensors.append(make_tensor("standardised", ScaleShift(np.full(3, 1 / 255), np.zeros(3)), tensors))
    for i, channels in enumerate((3, 16)):
        weight = rng.uniform(0, 2 / (9 * channels), (16, channels, 3, 3)).astype(np.float32)
        tensors.append(make_tensor(f"conv{i}", Convolution(weight, np.zeros(16, np.float32), padding=1), tensors[-1:]))
        tensors.append(make_tensor(f"relu{i}", Relu(), tensors[-1:]))
    tensors.append(make_tensor("mean", ReduceMean(), tensors[-1:]))
    tensors.append(make_tensor(OUTPUT, Reshape((16,)), tensors[-1:]))
    return Network(tuple(tensors), {})


def explain(error: BaseException) -> str:
    """Return the first line of an error, with its type if it is not fastrt's."""
    text = next(iter(str(error).splitlines()), "")
    return text if type(error).__module__.startswith("fastrt") else f"{type(error).__name__}: {text}".rstrip(": ")


PROBES: dict[str, Callable[[str], dict[str, object]]] = {
    "runtime": probe_runtime,
    "target": probe_target,
    "gpus": probe_gpus,
}


def main(kind: str, name: str) -> None:
    """Print the result of a probe as JSON; what a runtime prints goes to stderr."""
    with os.fdopen(os.dup(1), "w") as result:
        os.dup2(2, 1)
        try:
            found = PROBES[kind](name)
        except BaseException as error:
            found = {"problem": explain(error)}
        json.dump(found, result)
        result.flush()
        sys.stdout.flush()
        os._exit(0)  # a runtime may fail again when the interpreter ends

"""The installed TensorRT and its API capabilities, read from the names it has, never from its version.

The only file that imports TensorRT.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import TargetError

Trt = Any
"""The tensorrt module, or an object of it; its wheels publish no types that hold for all versions."""

MODULES = {
    "tensorrt": ("tensorrt", "tensorrt_lean", "tensorrt_dispatch"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""Where each target looks, best first; the lean and dispatch runtimes run version-compatible plans and build none."""

INSTALL = {"tensorrt": "pip install 'fastrt[tensorrt]'", "tensorrt-rtx": "pip install 'fastrt[tensorrt-rtx]'"}


@dataclass(frozen=True)
class Capabilities:
    """The API capabilities of one installed TensorRT.

    Attributes:
        trt: its module.
        target: the target it belongs to.
    """

    trt: Trt
    target: str

    @property
    def version(self) -> str:
        """``tensorrt 10.3.0``."""
        return f"{self.target} {self.trt.__version__}"

    @property
    def can_build(self) -> bool:
        """Whether it has a builder, or only a runtime."""
        return hasattr(self.trt, "Builder")

    @property
    def strongly_typed(self) -> bool:
        """Whether tensors compute in the type they have; before TensorRT 10 the builder chooses, within bounds."""
        flags = getattr(self.trt, "NetworkDefinitionCreationFlag", None)  # a runtime alone has none
        return hasattr(flags, "STRONGLY_TYPED")

    def precisions(self) -> tuple[str, ...]:
        """What it can be asked to compute in, widest first."""
        bf16 = ("bf16",) if hasattr(self.trt.DataType, "BF16") else ()
        return ("fp32", "tf32", "fp16", *bf16, "int8")

    def create_network(self, builder: Trt) -> Trt:
        """An empty network, strongly typed where that exists, its batch explicit."""
        flags = self.trt.NetworkDefinitionCreationFlag
        flag = getattr(flags, "STRONGLY_TYPED", None) or flags.EXPLICIT_BATCH
        return builder.create_network(1 << int(flag))

    def data_type(self, dtype: str) -> Trt:
        """TensorRT's name of a dtype."""
        return getattr(
            self.trt.DataType, {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BF16"}.get(dtype, "UINT8")
        )

    def weights(self, array: Array) -> Trt:
        """An array as TensorRT takes it; whoever calls keeps the array alive until the build is over."""
        if array.dtype.name == "bfloat16":
            return self.trt.Weights(self.trt.DataType.BF16, array.ctypes.data, array.size)
        return self.trt.Weights(array)

    def shape_dtype(self) -> type[np.signedinteger[Any]]:
        """Of tensors that hold shapes."""
        return np.int64 if hasattr(self.trt.DataType, "INT64") else np.int32


def find_capabilities(target: str) -> Capabilities:
    """The TensorRT that is installed for a target.

    Raises:
        TargetError: none is, or it does not load.
    """
    name = next((name for name in MODULES[target] if importlib.util.find_spec(name)), None)
    if name is None:
        raise TargetError(f"{target} is not installed; {INSTALL[target]}")
    try:
        return Capabilities(importlib.import_module(name), target)
    except (ImportError, OSError) as error:
        raise TargetError(f"{target} is installed but does not load: {error}") from error

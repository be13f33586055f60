"""The installed TensorRT and its API capabilities, detected from the module's names, never from its version.

Only this file imports TensorRT.
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
"""The tensorrt module, or one of its objects; its wheels publish no types that are valid for all versions."""

MODULES = {
    "tensorrt": ("tensorrt", "tensorrt_lean", "tensorrt_dispatch"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""Modules of each target, best first. The lean and dispatch runtimes run version-compatible plans but build none."""


@dataclass(frozen=True)
class Capabilities:
    """The API capabilities of one installed TensorRT.

    Attributes:
        trt: the imported module.
        target: the name of its target.
    """

    trt: Trt
    target: str

    @property
    def version(self) -> str:
        """Target and version: ``tensorrt 10.3.0``."""
        return f"{self.target} {self.trt.__version__}"

    @property
    def can_build(self) -> bool:
        """True if the module has a builder; False if it is only a runtime."""
        return hasattr(self.trt, "Builder")

    @property
    def strongly_typed(self) -> bool:
        """True if networks are strongly typed; before TensorRT 10 the builder selects types, within constraints."""
        flags = getattr(self.trt, "NetworkDefinitionCreationFlag", None)  # missing without a builder
        return hasattr(flags, "STRONGLY_TYPED")

    def precisions(self) -> tuple[str, ...]:
        """List the available precisions, widest first."""
        bf16 = ("bf16",) if hasattr(self.trt.DataType, "BF16") else ()
        return ("fp32", "tf32", "fp16", *bf16, "int8")

    def create_network(self, builder: Trt) -> Trt:
        """Create an empty network with explicit batch, strongly typed if available."""
        flags = self.trt.NetworkDefinitionCreationFlag
        flag = getattr(flags, "STRONGLY_TYPED", None) or flags.EXPLICIT_BATCH
        return builder.create_network(1 << int(flag))

    def data_type(self, dtype: str) -> Trt:
        """Return the TensorRT data type of a dtype."""
        return getattr(
            self.trt.DataType, {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BF16"}.get(dtype, "UINT8")
        )

    def weights(self, array: Array) -> Trt:
        """Wrap an array as TensorRT weights; the caller keeps the array alive until the build ends."""
        if array.dtype.name == "bfloat16":
            return self.trt.Weights(self.trt.DataType.BF16, array.ctypes.data, array.size)
        return self.trt.Weights(array)

    def shape_dtype(self) -> type[np.signedinteger[Any]]:
        """Return the dtype of shape tensors."""
        return np.int64 if hasattr(self.trt.DataType, "INT64") else np.int32


def find_capabilities(target: str) -> Capabilities:
    """Import the installed TensorRT of a target.

    Raises:
        TargetError: none is installed, or it does not load.
    """
    name = next((name for name in MODULES[target] if importlib.util.find_spec(name)), None)
    if name is None:
        raise TargetError(f"{target}: it is not installed. Run pip install 'fastrt[{target}]'.")
    try:
        return Capabilities(importlib.import_module(name), target)
    except (ImportError, OSError) as error:
        raise TargetError(f"{target}: it is installed, but its import failed ({error})") from error

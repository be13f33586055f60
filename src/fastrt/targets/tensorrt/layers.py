"""Adds layers to an `INetworkDefinition`, with the constants that they read."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EngineError
from fastrt.ir.ops import Convolution, Linear
from fastrt.targets.base import Lowering
from fastrt.targets.tensorrt.capabilities import Capabilities, Trt
from fastrt.targets.tensorrt.messages import describe_error

PIXELS = 1 << 2 | 1 << 3
"""Axes 2 and 3, as a bit mask."""


class LayerWriter(Lowering[Trt]):
    """Base of the lowering: one method for each group of layers that several operations share.

    Attributes:
        bound: whether a layer was bound to a type, which requires a precision constraint flag in the builder.
    """

    target: ClassVar[str] = "tensorrt"

    def __init__(
        self, capabilities: Capabilities, network: Trt, errors: list[str], *, half: bool, quantized: bool, batch: int
    ) -> None:
        self.bound = False
        self._capabilities = capabilities
        self._trt = capabilities.trt
        self._network = network
        self._errors = errors
        self._half = half and not capabilities.strongly_typed
        self._quantized = quantized
        self._batch = batch
        self._kept: list[Array] = []  # TensorRT reads the arrays during the build, without a copy
        self._layers: list[Trt] = []
        self._borders: set[str] = set()  # casts without a layer, which the builder places

    def _layer(self, add: str, *arguments: Any) -> Trt:
        layer = getattr(self._network, add)(*arguments)
        if layer is None:
            raise EngineError(f"tensorrt: it refuses a layer ({describe_error(self._errors)}). Use another precision.")
        self._layers.append(layer)
        return layer

    def _add(self, add: str, *arguments: Any, **attributes: Any) -> Trt:
        """Add a layer, set its attributes and return its output."""
        layer = self._layer(add, *arguments)
        for name, value in attributes.items():
            setattr(layer, name, value)
        return layer.get_output(0)

    def _elementwise(self, operation: str, a: Trt, b: Trt) -> Trt:
        return self._add("add_elementwise", a, b, getattr(self._trt.ElementWiseOperation, operation))

    def _at_least(self, low: float, x: Trt) -> Trt:
        """Return the maximum of ``low`` and ``x``, through a select layer.

        TensorRT 8 compiles select layers, casts of uint8 and instance norms only with Myelin (TensorRT's fusing
        compiler), together with the layers around them. A select layer therefore makes its surroundings one kernel.
        """
        bound = self._scalar(low, x)
        return self._add("add_select", self._elementwise("GREATER", x, bound), x, bound)

    def _add_barrier(self, x: Trt) -> Trt:
        """Add a fusion barrier: an identity pooling, because Myelin in TensorRT 8 does not fuse poolings.

        A pooling of single pixels costs nothing: the builder removes it later.
        """
        return self._add("add_pooling_nd", x, self._trt.PoolingType.MAX, (1, 1))

    def _dequantized_weight(self, op: Convolution | Linear, like: Trt) -> Trt:
        assert op.scale is not None
        scale = self._scale(op.scale)
        # TensorRT 8 accepts no int8 constants. It rounds these float32 weights to the same integers.
        weight = op.dequantized().astype(np.float32)
        constant = self._add("add_constant", weight.shape, self._weights(weight))
        return self._quantized_pair(constant, scale, like, axis=0)

    def _scale(self, scale: Array) -> Trt:
        return self._add("add_constant", scale.shape, self._weights(scale.astype(np.float32)))

    def _quantized_pair(self, x: Trt, scale: Trt, like: Trt, **axis: int) -> Trt:
        """Add a Q/DQ pair that returns the type of ``like``; ``axis`` is the axis of several scales."""
        is_typed = self._capabilities.strongly_typed
        int8, dtype = ((self._trt.DataType.INT8,), (like.dtype,)) if is_typed else ((), ())
        integers = self._add("add_quantize", x, scale, *int8, **axis)
        return self._add("add_dequantize", integers, scale, *dtype, **axis)

    def _numpy_dtype(self, x: Trt) -> Any:
        if x.dtype == getattr(self._trt.DataType, "BF16", None):
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        half = self._capabilities.strongly_typed and x.dtype == self._trt.DataType.HALF
        return np.dtype(np.float16 if half else np.float32)

    def _weights(self, array: Array) -> Trt:
        array = np.asarray(array, order="C")
        self._kept.append(array)
        return self._capabilities.weights(array)

    def _constant(self, array: Array, like: Trt) -> Trt:
        """Add an array as a constant with the type of ``like``."""
        array = array.astype(self._numpy_dtype(like))
        return self._add("add_constant", array.shape, self._weights(array))

    def _scalar(self, value: float, like: Trt) -> Trt:
        return self._constant(np.full([1] * len(like.shape), value), like)

    def _size(self, x: Trt, rest: list[int]) -> Trt:
        """Add the shape ``(batch, *rest)`` as a tensor, with the batch size of ``x``."""
        shape = self._add("add_shape", x)
        batch = self._add("add_slice", shape, [0], [1], [1])
        fixed = np.asarray(rest, self._capabilities.shape_dtype())
        constant = self._add("add_constant", fixed.shape, self._weights(fixed))
        return self._add("add_concatenation", [batch, constant], axis=0)

"""A fake of TensorRT's network definition that computes on the host in float64.

Casts do not change values, so a result has no rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastrt.arrays import Array
from fastrt.targets.reference.lowering import erf

_UNARY: dict[str, Callable[[Array], Array]] = {"SQRT": np.sqrt, "ERF": lambda x: np.asarray(erf(x), np.float64)}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "SUM": np.add,
    "SUB": np.subtract,
    "PROD": np.multiply,
    "DIV": np.divide,
    "MAX": np.maximum,
    "MIN": np.minimum,
    "POW": np.power,
    "GREATER": np.greater,
    "LESS": np.less,
}
_REDUCE: dict[str, Callable[..., Array]] = {"AVG": np.mean, "MAX": np.max, "SUM": np.sum}


class _Names:
    """An enumeration in which every name is a member with the value of its name."""

    def __getattr__(self, name: str) -> str:
        return name


TRT = SimpleNamespace(
    **{
        name: _Names()
        for name in (
            "DataType",
            "LayerType",
            "ElementWiseOperation",
            "ActivationType",
            "PoolingType",
            "ReduceOperation",
            "UnaryOperation",
            "MatrixOperation",
        )
    },
    Permutation=list,
    Weights=lambda *_: None,
)


def make_capabilities(*, strongly_typed: bool) -> Any:
    """Make the capabilities that the lowering reads."""
    names = {"float32": "FLOAT", "float16": "HALF", "uint8": "UINT8"}
    return SimpleNamespace(
        trt=TRT,
        strongly_typed=strongly_typed,
        data_type=names.__getitem__,
        weights=lambda array: array,
        shape_dtype=lambda: np.int64,
    )


class Tensor:
    """A layer's output. Computes its value at first access, because layers' attributes are set late."""

    def __init__(self, compute: Callable[[], Array], dtype: str, *, open_batch: bool) -> None:
        self.name = ""
        self.dtype = dtype
        self._compute = compute
        self.open_batch = open_batch

    @cached_property
    def value(self) -> Array:
        return self._compute()

    @property
    def shape(self) -> tuple[int, ...]:
        return (-1, *self.value.shape[1:]) if self.open_batch else self.value.shape


class Layer:
    """One layer; reads its attributes when it computes its output."""

    def __init__(self, type_: str, compute: Callable[[Layer], Array], inputs: Sequence[Tensor], dtype: str) -> None:
        self.type = type_
        self.name = ""
        self.num_groups = 1
        self.stride_nd = self.padding_nd = self.pre_padding = self.post_padding = self.dilation_nd = None
        self.inputs = list(inputs)
        open_batch = any(tensor.open_batch for tensor in inputs) and type_ != "SHAPE"
        self._output = Tensor(lambda: compute(self), dtype, open_batch=open_batch)

    def get_output(self, _: int) -> Tensor:
        return self._output

    def set_input(self, index: int, tensor: Tensor) -> None:
        self.inputs[index:] = [tensor] if index >= len(self.inputs) else [tensor, *self.inputs[index + 1 :]]

    def set_output_type(self, _: int, dtype: str) -> None:
        self._output.dtype = dtype

    def padding(self) -> list[tuple[int, int]]:
        before = self.pre_padding or self.padding_nd or (0, 0)
        after = self.post_padding or self.padding_nd or (0, 0)
        return [(0, 0), (0, 0), *zip(before, after, strict=True)]


def _axes(mask: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(8) if mask >> axis & 1)


class Definition:
    """``INetworkDefinition`` for a batch of images."""

    def __init__(self, batch: Array) -> None:
        self._batch = batch
        self.layers: list[Layer] = []

    def add_input(self, _: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
        assert shape == (-1, *self._batch.shape[1:])
        return Tensor(lambda: self._batch.astype(np.float64), dtype, open_batch=True)

    def add_constant(self, shape: Sequence[int], weights: Array) -> Layer:
        assert tuple(shape) == weights.shape
        kind = np.int64 if weights.dtype.kind == "i" else np.float64
        return self._add("CONSTANT", lambda _: weights.astype(kind))

    def add_cast(self, x: Tensor, dtype: str) -> Layer:
        return self._add("CAST", lambda _: x.value, x, dtype=dtype)

    def add_select(self, condition: Tensor, a: Tensor, b: Tensor) -> Layer:
        return self._add("SELECT", lambda _: np.where(condition.value, a.value, b.value), condition, a, b)

    def add_shuffle(self, x: Tensor) -> Layer:
        def compute(layer: Layer) -> Array:
            value = x.value
            if hasattr(layer, "first_transpose"):
                value = value.transpose(layer.first_transpose)
            if hasattr(layer, "reshape_dims"):
                value = value.reshape([size or value.shape[axis] for axis, size in enumerate(layer.reshape_dims)])
            return value.transpose(layer.second_transpose) if hasattr(layer, "second_transpose") else value

        return self._add("SHUFFLE", compute, x)

    def add_shape(self, x: Tensor) -> Layer:
        return self._add("SHAPE", lambda _: np.asarray(x.value.shape), x)

    def add_slice(self, x: Tensor, start: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> Layer:
        def compute(layer: Layer) -> Array:
            sizes = layer.inputs[1].value if len(layer.inputs) > 1 else size
            parts = (slice(a, a + n * step, step) for a, n, step in zip(start, sizes, stride, strict=True))
            return x.value[tuple(parts)]

        return self._add("SLICE", compute, x)

    def add_concatenation(self, xs: Sequence[Tensor]) -> Layer:
        return self._add("CONCATENATION", lambda layer: np.concatenate([x.value for x in xs], layer.axis), *xs)  # type: ignore[attr-defined]

    def add_elementwise(self, a: Tensor, b: Tensor, operation: str) -> Layer:
        assert len(a.value.shape) == len(b.value.shape), "TensorRT broadcasts only tensors of equal rank"
        dtype = "BOOL" if operation in ("GREATER", "LESS") else "FLOAT"
        return self._add("ELEMENTWISE", lambda _: _BINARY[operation](a.value, b.value), a, b, dtype=dtype)

    def add_unary(self, x: Tensor, operation: str) -> Layer:
        return self._add("UNARY", lambda _: _UNARY[operation](x.value), x)

    def add_activation(self, x: Tensor, kind: str) -> Layer:
        def compute(layer: Layer) -> Array:
            if kind == "SIGMOID":
                return 1 / (1 + np.exp(-x.value))
            slope = layer.alpha if kind == "LEAKY_RELU" else 0.0  # type: ignore[attr-defined]
            return np.where(x.value > 0, x.value, slope * x.value)

        return self._add("ACTIVATION", compute, x)

    def add_softmax(self, x: Tensor) -> Layer:
        def compute(layer: Layer) -> Array:
            powers = np.exp(x.value)
            return np.asarray(powers / powers.sum(_axes(layer.axes), keepdims=True))  # type: ignore[attr-defined]

        return self._add("SOFTMAX", compute, x)

    def add_reduce(self, x: Tensor, operation: str, axes: int, keep_dims: bool) -> Layer:
        return self._add("REDUCE", lambda _: _REDUCE[operation](x.value, axis=_axes(axes), keepdims=keep_dims), x)

    def add_matrix_multiply(self, a: Tensor, a_operation: str, b: Tensor, b_operation: str) -> Layer:
        def turned(tensor: Tensor, operation: str) -> Array:
            return tensor.value.swapaxes(-1, -2) if operation == "TRANSPOSE" else tensor.value

        return self._add("MATRIX_MULTIPLY", lambda _: turned(a, a_operation) @ turned(b, b_operation), a, b)

    def add_normalization(self, x: Tensor, scale: Tensor, bias: Tensor, axes: int) -> Layer:
        def compute(layer: Layer) -> Array:
            groups = layer.num_groups
            value = x.value.reshape(len(x.value), groups, -1) if groups > 1 else x.value
            over = (2,) if groups > 1 else _axes(axes)
            centred = value - value.mean(over, keepdims=True)
            normed = centred / np.sqrt(np.square(centred).mean(over, keepdims=True) + layer.epsilon)  # type: ignore[attr-defined]
            return np.asarray(normed.reshape(x.value.shape) * scale.value + bias.value)

        return self._add("NORMALIZATION", compute, x, scale, bias)

    def add_pooling_nd(self, x: Tensor, kind: str, window: Sequence[int]) -> Layer:
        def compute(layer: Layer) -> Array:
            value = np.pad(x.value, layer.padding(), constant_values=-np.inf if kind == "MAX" else 0)
            step = layer.stride_nd or (1, 1)
            windows = np.lib.stride_tricks.sliding_window_view(value, window, (2, 3))[:, :, :: step[0], :: step[1]]
            if kind == "MAX":
                return np.asarray(windows.max((4, 5)))
            if not getattr(layer, "average_count_excludes_padding", True):
                return np.asarray(windows.mean((4, 5)))
            counted = np.pad(np.ones_like(x.value), layer.padding())
            counts = np.lib.stride_tricks.sliding_window_view(counted, window, (2, 3))[:, :, :: step[0], :: step[1]]
            return np.asarray(windows.sum((4, 5)) / counts.sum((4, 5)))

        return self._add("POOLING", compute, x)

    def add_convolution_nd(self, x: Tensor, outputs: int, kernel: Sequence[int], weight: Any, bias: Array) -> Layer:
        def compute(layer: Layer) -> Array:
            filters = layer.inputs[1].value if len(layer.inputs) > 1 else np.asarray(weight, np.float64)
            assert filters.shape[2:] == tuple(kernel)
            groups = layer.num_groups
            value = np.pad(x.value, layer.padding())
            step = layer.stride_nd or (1, 1)
            apart = layer.dilation_nd or (1, 1)
            spans = [far * (size - 1) + 1 for far, size in zip(apart, kernel, strict=True)]
            windows = np.lib.stride_tricks.sliding_window_view(value, spans, (2, 3))
            windows = windows[:, :, :: step[0], :: step[1], :: apart[0], :: apart[1]]
            count, _, height, width = windows.shape[:4]
            rows = windows.transpose(0, 1, 4, 5, 2, 3).reshape(count, groups, -1, height * width)
            y = filters.reshape(groups, outputs // groups, -1) @ rows
            return np.asarray(y.reshape(count, outputs, height, width) + bias.reshape(1, -1, 1, 1))

        return self._add("CONVOLUTION", compute, x)

    def add_quantize(self, x: Tensor, scale: Tensor, *_: str) -> Layer:
        def compute(layer: Layer) -> Array:
            return np.clip(np.rint(x.value / _along(scale.value, x.value, layer)), -128, 127)

        return self._add("QUANTIZE", compute, x, dtype="INT8")

    def add_dequantize(self, x: Tensor, scale: Tensor, *_: str) -> Layer:
        return self._add("DEQUANTIZE", lambda layer: x.value * _along(scale.value, x.value, layer), x)

    def _add(self, kind: str, compute: Callable[[Layer], Array], *inputs: Tensor, dtype: str = "FLOAT") -> Layer:
        self.layers.append(Layer(kind, compute, inputs, dtype))
        return self.layers[-1]


def _along(scale: Array, value: Array, layer: Layer) -> Array:
    """Shape one scale per slice of an axis, or one for all, for broadcasting."""
    axis = getattr(layer, "axis", None)
    return scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(value.ndim)])

"""The operations: attributes, arrays and a shape rule for each, independent of any runtime.

Every operation has exactly one output. Shapes are per image, without the batch axis. Channels come first: a feature
map is ``(C, H, W)`` and channels are axis 0. The targets implement the computation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from fastrt.arrays import Array, Shape
from fastrt.errors import NetworkError


@dataclass(frozen=True, eq=False)
class Operation:
    """Base of all operations.

    Attributes:
        kind: the operation's name in snake case; a target's method of that name lowers it.
        arity: number of input tensors; -1 is any number.
    """

    kind: ClassVar[str]
    arity: ClassVar[int] = 1

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def infer(self, *inputs: Shape) -> Shape:
        """Return the output's shape for the inputs' shapes; raises `NetworkError` if they do not fit."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Array]:
        """The operation's arrays, by field name."""
        return {name: value for name, value in self._items() if isinstance(value, np.ndarray)}

    def attributes(self) -> dict[str, object]:
        """All other fields, by name: plain numbers, strings and tuples of them."""
        return {name: value for name, value in self._items() if value is not None and not isinstance(value, np.ndarray)}

    def _items(self) -> list[tuple[str, object]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def _map_shape(operation: Operation, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise NetworkError(f"{operation.kind} of a tensor of shape {shape}; expected a feature map (C, H, W)")
    return shape[0], shape[1], shape[2]


def _windows(kind: str, size: int, kernel: int, stride: int, padding: int, ceil: bool = False) -> int:
    """Count the windows along one axis, by PyTorch's rule.

    Source: torch.nn.MaxPool2d. With ``ceil_mode`` a last window that would start inside the right padding is dropped.
    """
    span = size + 2 * padding - kernel
    count = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1
    if count < 1:
        raise NetworkError(
            f"{kind} with a window of {kernel} over a feature map of {size} pixels; expected a larger image"
        )
    return count


@dataclass(frozen=True, eq=False)
class Input(Operation):
    """The images that the caller passes."""

    shape: Shape
    dtype: str = "float32"
    arity: ClassVar[int] = 0

    def infer(self, *inputs: Shape) -> Shape:
        return self.shape


@dataclass(frozen=True, eq=False)
class _Elementwise(Operation):
    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Cast(_Elementwise):
    """The same values in another dtype."""

    dtype: str


@dataclass(frozen=True, eq=False)
class Transpose(Operation):
    """Axes in another order: output axis ``i`` is input axis ``axes[i]`` (per image, so without the batch axis)."""

    axes: tuple[int, ...]

    def infer(self, *inputs: Shape) -> Shape:
        if sorted(self.axes) != list(range(len(inputs[0]))):
            raise NetworkError(f"transpose of a tensor of shape {inputs[0]} by {self.axes}; expected each axis once")
        return tuple(inputs[0][axis] for axis in self.axes)


@dataclass(frozen=True, eq=False)
class Reshape(Operation):
    """The same values in another shape, row-major."""

    shape: Shape

    def infer(self, *inputs: Shape) -> Shape:
        if np.prod(self.shape) != np.prod(inputs[0]):
            raise NetworkError(f"reshape of a tensor of shape {inputs[0]} to {self.shape}; expected as many values")
        return self.shape


@dataclass(frozen=True, eq=False)
class Slice(Operation):
    """``start`` to ``stop`` (exclusive) along ``axis``."""

    axis: int
    start: int
    stop: int

    def infer(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if self.axis >= len(shape) or not 0 <= self.start < self.stop <= shape[self.axis]:
            raise NetworkError(
                f"slice {self.start}:{self.stop} of axis {self.axis} of a tensor of shape {shape};"
                " expected a range inside the tensor"
            )
        return (*shape[: self.axis], self.stop - self.start, *shape[self.axis + 1 :])


@dataclass(frozen=True, eq=False)
class Concat(Operation):
    """Feature maps one after the other along the channels."""

    arity: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        if len({shape[1:] for shape in inputs}) != 1:
            raise NetworkError(f"concat of {', '.join(map(str, inputs))}; expected feature maps of one size")
        return (sum(shape[0] for shape in inputs), *inputs[0][1:])


@dataclass(frozen=True, eq=False)
class ScaleShift(Operation):
    """``x * scale + shift`` per channel; both are ``(C,)`` float64, and only the target rounds them.

    Represents batch norm at inference and the standardisation of pixels. Arrays of more axes, ``(T, C)``, have a number
    for each index of the first axes: a position embedding.
    """

    scale: Array
    shift: Array

    def infer(self, *inputs: Shape) -> Shape:
        if not self.scale.ndim or not self.scale.shape == self.shift.shape == inputs[0][: self.scale.ndim]:
            raise NetworkError(
                f"scale_shift of a tensor of shape {inputs[0]} by arrays of shape {self.scale.shape}; expected a number"
                " for each channel"
            )
        return inputs[0]


@dataclass(frozen=True, eq=False)
class QuantizeDequantize(Operation):
    """A Q/DQ pair: ``(clip(round(x / scale) + zero_point) - zero_point) * scale``, halves rounded to even.

    ``grid`` is ``int8`` or ``uint8``. A runtime computes the operations between such pairs in int8.
    """

    scale: float
    zero_point: int = 0
    grid: str = "int8"

    def infer(self, *inputs: Shape) -> Shape:
        if not self.scale > 0 or self.grid not in ("int8", "uint8"):
            raise NetworkError(f"Q/DQ pair of scale {self.scale} in {self.grid}; expected a scale above 0 in 8 bits")
        return inputs[0]

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest output value."""
        grid = np.iinfo(self.grid)
        return (grid.min - self.zero_point) * self.scale, (grid.max - self.zero_point) * self.scale


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """Cross-correlation with ``weight`` ``(O, I / groups, kh, kw)`` and a ``bias`` ``(O,)``; zeros pad both sides.

    An int8 ``weight`` has a ``scale`` ``(O,)`` float32 that multiplies the weights of each output channel.
    With ``groups``, the output channels of a group read only the input channels of that group.
    Kernel elements are ``dilation`` pixels apart. A ``stride`` of two numbers is of rows and columns.
    """

    weight: Array
    bias: Array | None = None
    stride: int | tuple[int, int] = 1
    padding: int = 0
    scale: Array | None = None
    groups: int = 1
    dilation: int = 1

    def attributes(self) -> dict[str, object]:
        """As the base class, but omits ``groups`` and ``dilation`` if 1, so that older fingerprints stay valid."""
        plain = {name for name in ("groups", "dilation") if getattr(self, name) == 1}
        return {name: value for name, value in super().attributes().items() if name not in plain}

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _map_shape(self, inputs[0])
        out, each, *kernel = self.weight.shape
        if self.groups < 1 or self.dilation < 1 or out % self.groups:
            raise NetworkError(
                f"convolution to {out} channels in {self.groups} groups with a dilation of {self.dilation};"
                " expected groups that divide the channels, and a dilation of at least 1"
            )
        expected = each * self.groups
        kernel_height, kernel_width = (self.dilation * (size - 1) + 1 for size in kernel)
        vectors = [array for array in (self.bias, self.scale) if array is not None]
        if (self.weight.dtype == np.int8) != (self.scale is not None):
            raise NetworkError(f"convolution with {self.weight.dtype} weights; expected a scale for int8 only")
        if channels != expected or any(array.shape != (out,) for array in vectors):
            raise NetworkError(
                f"convolution of a feature map of shape {inputs[0]}; expected {expected} channels, and {out} biases"
            )
        return (
            out,
            _windows(self.kind, height, kernel_height, self.strides[0], self.padding),
            _windows(self.kind, width, kernel_width, self.strides[1], self.padding),
        )

    @property
    def strides(self) -> tuple[int, int]:
        """The stride of rows and of columns."""
        return (self.stride, self.stride) if isinstance(self.stride, int) else self.stride

    def dequantized(self) -> Array:
        """Return the weight in floating point."""
        return dequantize(self.weight, self.scale)


def dequantize(weight: Array, scale: Array | None) -> Array:
    """Return a weight in floating point: int8 times the scale of its output channel, the first axis."""
    return weight if scale is None else weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """Tokens ``(T, I)`` to ``(T, O)``: each row times ``weight`` ``(O, I)`` transposed, plus ``bias`` ``(O,)``.

    An int8 ``weight`` has a ``scale`` ``(O,)`` float32, as in a `Convolution`. There is one group of features.
    """

    groups: ClassVar[int] = 1

    weight: Array
    bias: Array | None = None
    scale: Array | None = None

    def infer(self, *inputs: Shape) -> Shape:
        outputs, width = self.weight.shape
        vectors = [array for array in (self.bias, self.scale) if array is not None]
        if (self.weight.dtype == np.int8) != (self.scale is not None):
            raise NetworkError(f"linear with {self.weight.dtype} weights; expected a scale for int8 only")
        if len(inputs[0]) != 2 or inputs[0][1] != width or any(array.shape != (outputs,) for array in vectors):
            raise NetworkError(
                f"linear of a tensor of shape {inputs[0]}; expected tokens of {width} features, and {outputs} biases"
            )
        return inputs[0][0], outputs

    def dequantized(self) -> Array:
        """Return the weight in floating point."""
        return dequantize(self.weight, self.scale)


WEIGHTED = (Convolution, Linear)
"""The operations that multiply by a ``weight``, which int8 can store."""


@dataclass(frozen=True, eq=False)
class _Pool(Operation):
    kernel: int
    stride: int
    padding: int = 0
    ceil: bool = False

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = _map_shape(self, inputs[0])
        sizes = (_windows(self.kind, n, self.kernel, self.stride, self.padding, self.ceil) for n in (height, width))
        return (channels, *sizes)

    def padding_after(self, size: int) -> int:
        """Padding after an axis of ``size`` pixels that the last window needs, explicit padding included."""
        count = _windows(self.kind, size, self.kernel, self.stride, self.padding, self.ceil)
        return max((count - 1) * self.stride + self.kernel - size - self.padding, 0)


@dataclass(frozen=True, eq=False)
class MaxPool(_Pool):
    """The largest value of each window, padding excluded. ``ceil`` counts a last window that exceeds the input."""


@dataclass(frozen=True, eq=False)
class AveragePool(_Pool):
    """The mean of each window's pixels; with ``counted``, also of the zeros that pad the feature map.

    ``ceil`` counts a last window that exceeds the input; its mean is of the pixels that it has.
    """

    counted: bool = False

    def infer(self, *inputs: Shape) -> Shape:
        if self.counted and self.ceil:
            raise NetworkError("average_pool that counts padding and rounds up; expected one of the two")
        return super().infer(*inputs)


@dataclass(frozen=True, eq=False)
class InstanceNorm(Operation):
    """Scales each channel of each image to mean 0 and variance 1, then ``* weight + bias``, ``(C,)`` each."""

    weight: Array
    bias: Array
    eps: float

    def infer(self, *inputs: Shape) -> Shape:
        if _map_shape(self, inputs[0])[0] != self.weight.shape[0]:
            raise NetworkError(
                f"instance_norm of a tensor of shape {inputs[0]}; expected {self.weight.shape[0]} channels"
            )
        return inputs[0]


@dataclass(frozen=True, eq=False)
class LayerNorm(Operation):
    """Scales the last axis to mean 0 and variance 1, then ``* weight + bias``, an element of that axis each."""

    weight: Array
    bias: Array
    eps: float

    def infer(self, *inputs: Shape) -> Shape:
        if not self.weight.shape == self.bias.shape == inputs[0][-1:]:
            raise NetworkError(f"layer_norm of a tensor of shape {inputs[0]}; expected {self.weight.shape[0]} features")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Relu(_Elementwise):
    """``max(x, 0)``."""


@dataclass(frozen=True, eq=False)
class Sigmoid(_Elementwise):
    """``1 / (1 + exp(-x))``."""


@dataclass(frozen=True, eq=False)
class Gelu(_Elementwise):
    """``x * (1 + erf(x / sqrt(2))) / 2``: the exact form, not the one with tanh."""


@dataclass(frozen=True, eq=False)
class Softmax(_Elementwise):
    """``exp(x) / sum(exp(x))`` along the last axis."""


@dataclass(frozen=True, eq=False)
class Clamp(_Elementwise):
    """``x`` limited to ``low`` to ``high``; None: no bound on that side."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class Power(_Elementwise):
    """``x ** exponent`` for positive ``x``."""

    exponent: float


@dataclass(frozen=True, eq=False)
class _Binary(Operation):
    arity: ClassVar[int] = 2

    def infer(self, *inputs: Shape) -> Shape:
        try:
            return tuple(np.broadcast_shapes(*inputs))
        except ValueError:
            raise NetworkError(
                f"{self.kind} of tensors of shape {inputs[0]} and {inputs[1]}; expected shapes that broadcast"
            ) from None


@dataclass(frozen=True, eq=False)
class Add(_Binary):
    """``a + b``."""


@dataclass(frozen=True, eq=False)
class Multiply(_Binary):
    """``a * b``; a ``(C, 1, 1)`` tensor is broadcast over the pixels of a feature map."""


@dataclass(frozen=True, eq=False)
class MatMul(Operation):
    """The product of two matrices, either one transposed first; of each pair of matrices if there are more axes."""

    transpose_a: bool = False
    transpose_b: bool = False
    arity: ClassVar[int] = 2

    def infer(self, *inputs: Shape) -> Shape:
        a, b = inputs
        if min(len(a), len(b)) < 2 or a[:-2] != b[:-2]:
            raise NetworkError(f"mat_mul of tensors of shape {a} and {b}; expected as many matrices in both")
        rows, inner_a = a[:-3:-1] if self.transpose_a else a[-2:]
        inner_b, columns = b[:-3:-1] if self.transpose_b else b[-2:]
        if inner_a != inner_b:
            raise NetworkError(f"mat_mul of tensors of shape {a} and {b}; expected equal inner sizes")
        return (*a[:-2], rows, columns)


@dataclass(frozen=True, eq=False)
class _Reduce(Operation):
    def infer(self, *inputs: Shape) -> Shape:
        return (_map_shape(self, inputs[0])[0], 1, 1)


@dataclass(frozen=True, eq=False)
class ReduceMean(_Reduce):
    """The mean over the pixels of each channel: ``(C, H, W)`` to ``(C, 1, 1)``."""


@dataclass(frozen=True, eq=False)
class ReduceMax(_Reduce):
    """The largest pixel of each channel: ``(C, H, W)`` to ``(C, 1, 1)``."""


@dataclass(frozen=True, eq=False)
class L2Normalize(Operation):
    """``x / max(|x|, eps)`` over a vector.

    Source: torch.nn.functional.normalize.
    """

    eps: float = 1e-12

    def infer(self, *inputs: Shape) -> Shape:
        if len(inputs[0]) != 1:
            raise NetworkError(f"l2_normalize of a tensor of shape {inputs[0]}; expected a vector")
        return inputs[0]


OPERATIONS: dict[str, type[Operation]] = {
    operation.kind: operation
    for operation in (
        Input, Cast, QuantizeDequantize, Transpose, Reshape, Slice, Concat, ScaleShift, Convolution, Linear, MaxPool,
        AveragePool, InstanceNorm, LayerNorm, Relu, Sigmoid, Gelu, Softmax, Clamp, Power, Add, Multiply, MatMul,
        ReduceMean, ReduceMax, L2Normalize,
    )
}  # fmt: skip
"""All operations by kind; a target must lower them."""

"""The arbiter: every operation in NumPy, plainly and in float64. An engine file is NumPy's ``.npz`` of the network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError, TargetError
from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import (
    Add,
    Cast,
    Clamp,
    Concat,
    Convolution,
    Input,
    InstanceNorm,
    L2Normalize,
    LeakyRelu,
    MatMul,
    MaxPool,
    Multiply,
    Power,
    QuantizeDequantize,
    ReduceMax,
    ReduceMean,
    Relu,
    Reshape,
    ScaleShift,
    Sigmoid,
    Slice,
    Transpose,
)
from fastrt.passes.quantize import Placement
from fastrt.targets.base import BuildOptions, Layer, Lowering, Mode, Runner, Target
from fastrt.targets.engine_info import EngineInfo, read_info
from fastrt.targets.network_file import read_info_entry, read_network, write_network

PIXELS = (2, 3)


def run_reference(network: Network, batch: Array) -> Embeddings:
    """The embeddings ``(n, D)`` float32 of a batch in the network's input profile."""
    *_, (_, embeddings) = Reference(batch).lower(network)
    return np.asarray(embeddings, np.float32)


def trace_reference(network: Network, batch: Array) -> dict[str, Array]:
    """Every tensor of the network by name, ``(n, ...)`` each."""
    return {tensor.name: value for tensor, value in Reference(batch).lower(network)}


class Reference(Lowering[Array]):
    """Computes a network for one batch; values are ``(n, ...)`` arrays.

    They are float64, so that its own rounding never shows, unless ``dtype`` is float32, to see what rounding does.
    """

    target: ClassVar[str] = "reference"

    def __init__(self, batch: Array, dtype: type[np.floating[Any]] = np.float64) -> None:
        self.batch = batch
        self.dtype = dtype

    def input(self, op: Input) -> Array:
        return self._compute(np.asarray(self.batch, op.dtype))

    def cast(self, op: Cast, x: Array) -> Array:
        return self._compute(x.astype(op.dtype))

    def transpose(self, op: Transpose, x: Array) -> Array:
        return x.transpose(0, *(axis + 1 for axis in op.axes))

    def reshape(self, op: Reshape, x: Array) -> Array:
        return x.reshape(len(x), *op.shape)

    def slice(self, op: Slice, x: Array) -> Array:
        return np.asarray(np.take(x, range(op.start, op.stop), op.axis + 1))

    def concat(self, _: Concat, *xs: Array) -> Array:
        return np.concatenate(xs, axis=1)

    def scale_shift(self, op: ScaleShift, x: Array) -> Array:
        return x * self._per_channel(op.scale, x) + self._per_channel(op.shift, x)

    def convolution(self, op: Convolution, x: Array) -> Array:
        outputs, _, kernel_height, kernel_width = op.weight.shape
        x = np.pad(x, ((0, 0), (0, 0), (op.padding, op.padding), (op.padding, op.padding)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel_height, kernel_width), PIXELS)
        windows = windows[:, :, :: op.stride, :: op.stride]
        height, width = windows.shape[2:4]
        weight = op.dequantized().reshape(outputs, -1).astype(self.dtype)
        y = np.empty((len(x), outputs, height * width), self.dtype)
        for image, row in zip(windows, y, strict=True):  # one image at a time bounds the memory
            columns = image.transpose(0, 3, 4, 1, 2).reshape(weight.shape[1], -1)
            np.matmul(weight, columns, out=row)
        y = y.reshape(len(x), outputs, height, width)
        return y if op.bias is None else y + self._per_channel(op.bias, y)

    def quantize_dequantize(self, op: QuantizeDequantize, x: Array) -> Array:
        return np.asarray(np.clip(np.rint(x / op.scale) * op.scale, *op.limits))

    def max_pool(self, op: MaxPool, x: Array) -> Array:
        after = [(op.padding, op.padding_after(size)) for size in x.shape[2:]]
        x = np.pad(x, ((0, 0), (0, 0), *after), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(x, (op.kernel, op.kernel), PIXELS)
        return np.asarray(windows[:, :, :: op.stride, :: op.stride].max((4, 5)))

    def instance_norm(self, op: InstanceNorm, x: Array) -> Array:
        centred = x - x.mean(PIXELS, keepdims=True)
        normed = centred / np.sqrt(np.square(centred).mean(PIXELS, keepdims=True) + op.eps)
        return np.asarray(normed * self._per_channel(op.weight, x) + self._per_channel(op.bias, x))

    def relu(self, _: Relu, x: Array) -> Array:
        return np.maximum(x, 0)

    def leaky_relu(self, op: LeakyRelu, x: Array) -> Array:
        return np.where(x > 0, x, x * op.slope)

    def sigmoid(self, _: Sigmoid, x: Array) -> Array:
        return 0.5 * (np.tanh(0.5 * x) + 1)

    def clamp(self, op: Clamp, x: Array) -> Array:
        return np.asarray(np.clip(x, op.low, op.high))

    def power(self, op: Power, x: Array) -> Array:
        return np.asarray(np.power(x, op.exponent))

    def add(self, _: Add, a: Array, b: Array) -> Array:
        return np.asarray(a + b)

    def multiply(self, _: Multiply, a: Array, b: Array) -> Array:
        return np.asarray(a * b)

    def mat_mul(self, op: MatMul, a: Array, b: Array) -> Array:
        return np.asarray(
            np.matmul(a.swapaxes(1, 2) if op.transpose_a else a, b.swapaxes(1, 2) if op.transpose_b else b)
        )

    def reduce_mean(self, _: ReduceMean, x: Array) -> Array:
        return np.asarray(x.mean(PIXELS, keepdims=True))

    def reduce_max(self, _: ReduceMax, x: Array) -> Array:
        return np.asarray(x.max(PIXELS, keepdims=True))

    def l2_normalize(self, op: L2Normalize, x: Array) -> Array:
        return np.asarray(x / np.maximum(np.sqrt(np.square(x).sum(1, keepdims=True)), op.eps))

    def _compute(self, x: Array) -> Array:
        return x.astype(self.dtype) if x.dtype.kind == "f" else x

    def _per_channel(self, array: Array, x: Array) -> Array:
        return array.astype(self.dtype).reshape(1, -1, *(1,) * (x.ndim - 2))


class RoundingReference(Reference):
    """Computes in float32, and rounds what the network has in half: feature maps, and convolutions' weights.

    So it shows what half precision alone does to a network, whatever the runtime.
    """

    def __init__(self, batch: Array) -> None:
        super().__init__(batch, np.float32)

    def lower(self, network: Network) -> Iterator[tuple[Tensor, Array]]:
        return super().lower(round_weights(network))

    def named(self, tensor: Tensor, value: Array) -> Array:
        return _round(value, tensor.dtype) if tensor.dtype in HALVES else value


class DrawnReference(RoundingReference):
    """Rounds every value to either neighbour of its type at random, the nearer one more often.

    Several seeds show how far the rounding of any runtime may move a network. A quantized network amplifies it: a value
    at the edge of a step falls to one side or the other.
    """

    def __init__(self, batch: Array, seed: int) -> None:
        super().__init__(batch)
        self._random = np.random.default_rng(seed)

    def named(self, tensor: Tensor, value: Array) -> Array:
        if value.dtype.kind == "f":
            dtype = HALVES.get(tensor.dtype, np.float32)
            step = np.spacing(np.abs(value).astype(dtype)).astype(np.float32)
            value = value + step * (self._random.random(value.shape, np.float32) - np.float32(0.5))
        return super().named(tensor, value)


SUMMED = 16
"""Products that a tensor core adds up before it rounds."""


class HalfSumsReference(RoundingReference):
    """Also rounds a convolution's sum to float16 after every `SUMMED` products, as kernels do that add up in half.

    Such a kernel takes the channels of one place in the filter after the other.
    """

    def convolution(self, op: Convolution, x: Array) -> Array:
        outputs, _, *kernel = op.weight.shape
        x = np.pad(x, ((0, 0), (0, 0), (op.padding, op.padding), (op.padding, op.padding)))
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel, PIXELS)[:, :, :: op.stride, :: op.stride]
        weight = op.weight.transpose(0, 2, 3, 1).reshape(outputs, -1).astype(np.float32)
        y = np.zeros((len(x), outputs, *windows.shape[2:4]), np.float32)
        for image, row in zip(windows, y.reshape(len(x), outputs, -1), strict=True):
            columns = image.transpose(3, 4, 0, 1, 2).reshape(weight.shape[1], -1)
            for start in range(0, len(columns), SUMMED):
                part = slice(start, start + SUMMED)
                row[:] = _round(row + weight[:, part] @ columns[part], "float16")
        return y if op.bias is None else y + self._per_channel(op.bias, y)


HALVES: dict[str, Any] = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def _round(array: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):  # what half cannot hold becomes infinity, as it does everywhere
        return array.astype(HALVES[dtype]).astype(np.float32)


def round_weights(network: Network) -> Network:
    """The same network, the weights of each convolution rounded to the type of its output."""
    return replace(network, tensors=tuple(map(_round_weights, network)))


def _round_weights(tensor: Tensor) -> Tensor:
    operation = tensor.operation
    if not isinstance(operation, Convolution) or operation.scale is not None or tensor.dtype not in HALVES:
        return tensor
    return replace(tensor, operation=replace(operation, weight=_round(operation.weight, tensor.dtype)))


class ReferenceTarget(Target):
    """NumPy."""

    name: ClassVar[str] = "reference"
    suffix: ClassVar[str] = ".npz"
    placement: ClassVar[Placement] = Placement(
        unsigned=True, signed="int8", both_sides=False, pairs_in_int16=True, bias_in_int32=False
    )

    def precisions(self) -> tuple[str, ...]:
        return ("fp32", "int8")

    def version(self) -> str:
        return f"numpy {np.__version__}"

    def build(self, network: Network, path: Path, info: EngineInfo, options: BuildOptions) -> None:
        write_network(network, path, info.to_text())

    def load(self, path: Path, device: str, taps: bool | Collection[str] = False, mode: Mode = "latency") -> Runner:
        if device != "cpu":
            raise TargetError(f"reference runs on cpu, not on {device}")
        return ReferenceRunner(read_network(path), self.describe(path))

    def describe(self, path: Path) -> EngineInfo:
        network = read_network(path)
        shape = (-1, *network.input.shape)
        inputs = [(network.input.name, shape, network.input.dtype)]
        return read_info(read_info_entry(path), self.name, path, inputs, [(-1, *network.output.shape)])

    def layers(self, path: Path) -> list[Layer]:
        return [Layer(tensor.name, tensor.operation.kind, tensor.shape) for tensor in read_network(path)]


class ReferenceRunner(Runner):
    """A network that NumPy computes."""

    def __init__(self, network: Network, info: EngineInfo) -> None:
        self.info = info
        self._network: Network | None = network

    def run(self, batch: Array) -> Embeddings:
        return run_reference(self._open(), batch)

    def run_tapped(self, batch: Array) -> Mapping[str, Array]:
        return trace_reference(self._open(), batch)

    def close(self) -> None:
        self._network = None

    def _open(self) -> Network:
        if self._network is None:
            raise EngineError("the session is closed; load the engine again")
        return self._network

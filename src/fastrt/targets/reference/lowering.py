"""Computes each operation in NumPy and float64, as the reference for every target."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastrt.arrays import Array, Embeddings
from fastrt.ir import ops
from fastrt.ir.network import Network
from fastrt.targets.base import Lowering

PIXELS = (2, 3)


def run_reference(network: Network, batch: Array) -> Embeddings:
    """Compute the embeddings ``(n, D)`` float32 of a batch in the network's input profile."""
    *_, (_, embeddings) = Reference(batch).lower(network)
    return np.asarray(embeddings, np.float32)


def trace_reference(network: Network, batch: Array) -> dict[str, Array]:
    """Compute every tensor of the network, by name, ``(n, ...)`` each."""
    return {tensor.name: value for tensor, value in Reference(batch).lower(network)}


class Reference(Lowering[Array]):
    """Computes a network for one batch; values are ``(n, ...)`` arrays.

    Values are float64, so that rounding errors are negligible. ``dtype`` float32 shows the effect of rounding.
    """

    target: ClassVar[str] = "reference"

    def __init__(self, batch: Array, dtype: type[np.floating[Any]] = np.float64) -> None:
        self.batch = batch
        self.dtype = dtype

    def input(self, op: ops.Input) -> Array:
        return self._compute(np.asarray(self.batch, op.dtype))

    def cast(self, op: ops.Cast, x: Array) -> Array:
        return self._compute(x.astype(op.dtype))

    def transpose(self, op: ops.Transpose, x: Array) -> Array:
        return x.transpose(0, *(axis + 1 for axis in op.axes))

    def reshape(self, op: ops.Reshape, x: Array) -> Array:
        return x.reshape(len(x), *op.shape)

    def slice(self, op: ops.Slice, x: Array) -> Array:
        return np.asarray(np.take(x, range(op.start, op.stop), op.axis + 1))

    def concat(self, _: ops.Concat, *xs: Array) -> Array:
        return np.concatenate(xs, axis=1)

    def scale_shift(self, op: ops.ScaleShift, x: Array) -> Array:
        return x * self._per_channel(op.scale, x) + self._per_channel(op.shift, x)

    def convolution(self, op: ops.Convolution, x: Array) -> Array:
        windows = cut_windows(op, x)
        height, width = windows.shape[2:4]
        outputs = len(op.weight)
        if op.groups == outputs == x.shape[1]:
            y = _convolve_channels(windows, op.dequantized().astype(self.dtype))
            return y if op.bias is None else y + self._per_channel(op.bias, y)
        weight = op.dequantized().reshape(op.groups, outputs // op.groups, -1).astype(self.dtype)
        y = np.empty((len(x), *weight.shape[:2], height * width), self.dtype)
        for image, rows in zip(windows, y, strict=True):  # one image at a time bounds the memory
            columns = image.transpose(0, 3, 4, 1, 2).reshape(op.groups, weight.shape[2], -1)
            np.matmul(weight, columns, out=rows)
        y = y.reshape(len(x), outputs, height, width)
        return y if op.bias is None else y + self._per_channel(op.bias, y)

    def linear(self, op: ops.Linear, x: Array) -> Array:
        y = x @ op.dequantized().astype(self.dtype).T
        return np.asarray(y if op.bias is None else y + op.bias.astype(self.dtype))

    def quantize_dequantize(self, op: ops.QuantizeDequantize, x: Array) -> Array:
        return np.asarray(np.clip(np.rint(x / op.scale) * op.scale, *op.limits))

    def max_pool(self, op: ops.MaxPool, x: Array) -> Array:
        return np.asarray(_cut_pool_windows(op, x, -np.inf).max((4, 5)))

    def average_pool(self, op: ops.AveragePool, x: Array) -> Array:
        sums = _cut_pool_windows(op, x, 0).sum((4, 5))
        if op.counted:
            return np.asarray(sums / op.kernel**2)
        return np.asarray(sums / _cut_pool_windows(op, np.ones_like(x[:1, :1]), 0).sum((4, 5)))

    def instance_norm(self, op: ops.InstanceNorm, x: Array) -> Array:
        centred = x - x.mean(PIXELS, keepdims=True)
        normed = centred / np.sqrt(np.square(centred).mean(PIXELS, keepdims=True) + op.eps)
        return np.asarray(normed * self._per_channel(op.weight, x) + self._per_channel(op.bias, x))

    def layer_norm(self, op: ops.LayerNorm, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        normed = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + op.eps)
        return np.asarray(normed * op.weight.astype(self.dtype) + op.bias.astype(self.dtype))

    def relu(self, _: ops.Relu, x: Array) -> Array:
        return np.maximum(x, 0)

    def sigmoid(self, _: ops.Sigmoid, x: Array) -> Array:
        return 0.5 * (np.tanh(0.5 * x) + 1)

    def gelu(self, _: ops.Gelu, x: Array) -> Array:
        return np.asarray(0.5 * x * (1 + np.asarray(erf(x * math.sqrt(0.5)), self.dtype)))

    def softmax(self, _: ops.Softmax, x: Array) -> Array:
        powers = np.exp(x - x.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True))

    def clamp(self, op: ops.Clamp, x: Array) -> Array:
        return np.asarray(np.clip(x, op.low, op.high))

    def power(self, op: ops.Power, x: Array) -> Array:
        return np.asarray(np.power(x, op.exponent))

    def add(self, _: ops.Add, a: Array, b: Array) -> Array:
        return np.asarray(a + b)

    def multiply(self, _: ops.Multiply, a: Array, b: Array) -> Array:
        return np.asarray(a * b)

    def mat_mul(self, op: ops.MatMul, a: Array, b: Array) -> Array:
        return np.asarray(
            np.matmul(a.swapaxes(-1, -2) if op.transpose_a else a, b.swapaxes(-1, -2) if op.transpose_b else b)
        )

    def reduce_mean(self, _: ops.ReduceMean, x: Array) -> Array:
        return np.asarray(x.mean(PIXELS, keepdims=True))

    def reduce_max(self, _: ops.ReduceMax, x: Array) -> Array:
        return np.asarray(x.max(PIXELS, keepdims=True))

    def l2_normalize(self, op: ops.L2Normalize, x: Array) -> Array:
        return np.asarray(x / np.maximum(np.sqrt(np.square(x).sum(1, keepdims=True)), op.eps))

    def _compute(self, x: Array) -> Array:
        return x.astype(self.dtype) if x.dtype.kind == "f" else x

    def _per_channel(self, array: Array, x: Array) -> Array:
        return array.astype(self.dtype).reshape(1, *array.shape, *(1,) * (x.ndim - 1 - array.ndim))


def _convolve_channels(windows: Array, weight: Array) -> Array:
    """Convolve each channel with its own filter: one product and sum for each element of the kernel."""
    y = np.zeros(windows.shape[:4], weight.dtype)
    for row, column in np.ndindex(*weight.shape[2:]):
        y += windows[..., row, column] * weight[:, 0, row, column, None, None]
    return y


erf = np.frompyfunc(math.erf, 1, 1)
"""The error function of each number, as an array of Python objects: NumPy has none."""


def _cut_pool_windows(op: ops.MaxPool | ops.AveragePool, x: Array, padding: float) -> Array:
    """Return the pixels of each window: ``(n, C, H, W, kernel, kernel)``, a view."""
    around = [(op.padding, op.padding_after(size)) for size in x.shape[2:]]
    x = np.pad(x, ((0, 0), (0, 0), *around), constant_values=padding)
    windows = np.lib.stride_tricks.sliding_window_view(x, (op.kernel, op.kernel), PIXELS)
    return windows[:, :, :: op.stride, :: op.stride]


def cut_windows(op: ops.Convolution, x: Array) -> Array:
    """Return the pixels under each element of a convolution's kernel: ``(n, C, H, W, kh, kw)``, a view."""
    x = np.pad(x, ((0, 0), (0, 0), (op.padding, op.padding), (op.padding, op.padding)))
    spans = [op.dilation * (size - 1) + 1 for size in op.weight.shape[2:]]
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, PIXELS)
    rows, columns = op.strides
    return windows[:, :, ::rows, ::columns, :: op.dilation, :: op.dilation]

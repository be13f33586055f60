"""References with the rounding of engines: to FP16 or BF16 tensors, at random, or in partial sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from fastrt.arrays import Array
from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import WEIGHTED, Convolution, Linear
from fastrt.targets.reference.lowering import Reference, cut_windows


class RoundingReference(Reference):
    """Computes in float32 and rounds the network's FP16 or BF16 tensors, and the weights of layers.

    It shows the effect of half precision alone, independent of the runtime.
    """

    def __init__(self, batch: Array) -> None:
        super().__init__(batch, np.float32)

    def lower(self, network: Network) -> Iterator[tuple[Tensor, Array]]:
        return super().lower(round_weights(network))

    def named(self, tensor: Tensor, value: Array) -> Array:
        return _round(value, tensor.dtype) if tensor.dtype in HALVES else value


class DrawnReference(RoundingReference):
    """Rounds every value to one of the two neighbours of its type at random, the nearer one more often.

    Several seeds show how much the rounding of any runtime may change a network's output. A quantized network amplifies
    it: a value at the edge of a quantization step may round to either side.
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
"""Number of products that a tensor core sums before it rounds."""


class HalfSumsReference(RoundingReference):
    """Also rounds a layer's sum to FP16 after every `SUMMED` products, like kernels with FP16 accumulation.

    Such a kernel sums the channels of one filter position after the other, separately for each group. Layers are
    convolutions and linear layers.
    """

    def convolution(self, op: Convolution, x: Array) -> Array:
        windows = cut_windows(op, x)
        outputs = len(op.weight)
        weight = op.weight.transpose(0, 2, 3, 1).reshape(op.groups, outputs // op.groups, -1).astype(np.float32)
        y = np.zeros((len(x), outputs, *windows.shape[2:4]), np.float32)
        for image, rows in zip(windows, y.reshape(len(x), *weight.shape[:2], -1), strict=True):
            for group, (filters, channels) in enumerate(zip(weight, np.split(image, op.groups), strict=True)):
                columns = channels.transpose(3, 4, 0, 1, 2).reshape(filters.shape[1], -1)
                rows[group] = _multiply(filters, columns)
        return y if op.bias is None else y + self._per_channel(op.bias, y)

    def linear(self, op: Linear, x: Array) -> Array:
        y = _multiply(x.reshape(-1, x.shape[-1]), op.weight.T.astype(np.float32)).reshape(*x.shape[:-1], -1)
        return y if op.bias is None else y + op.bias


HALVES: dict[str, Any] = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def _round(array: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):  # overflow becomes infinity, as in every runtime
        return array.astype(HALVES[dtype]).astype(np.float32)


def _multiply(a: Array, b: Array) -> Array:
    """Multiply two float32 matrices, and round the sums to FP16 after every `SUMMED` products."""
    y = np.zeros((len(a), b.shape[1]), np.float32)
    for start in range(0, len(b), SUMMED):
        part = slice(start, start + SUMMED)
        y = _round(y + a[:, part] @ b[part], "float16")
    return y


def round_weights(network: Network) -> Network:
    """Round the weights of each convolution and linear layer to the dtype of its output."""
    return replace(network, tensors=tuple(map(_round_weights, network)))


def _round_weights(tensor: Tensor) -> Tensor:
    operation = tensor.operation
    if not isinstance(operation, WEIGHTED) or operation.scale is not None or tensor.dtype not in HALVES:
        return tensor
    return replace(tensor, operation=replace(operation, weight=_round(operation.weight, tensor.dtype)))

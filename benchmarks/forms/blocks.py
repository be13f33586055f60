"""Other layers for residual blocks: their shortcuts, and the sums of their convolutions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from fastrt.ir.network import Network
from fastrt.ir.ops import Add, Convolution
from fastrt.targets.tensorrt.capabilities import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering


@dataclass(frozen=True, eq=False)
class Difference(Add):
    """What is left of the second if the first is taken from it."""


def take_apart(network: Network) -> Network:
    """A prepared network whose shortcuts are added by a kernel of their own.

    TensorRT fuses sums into the convolution before, but no differences: so that convolution gives the negative.
    """
    apart: dict[str, str] = {}
    for tensor in network:
        if isinstance(tensor.operation, Add):
            first, second = (network[name] for name in tensor.inputs)
            both = isinstance(second.operation, Convolution)
            if isinstance(first.operation, Convolution) and first.operation.weight.shape[2] == 3 and not both:
                apart[tensor.name] = first.name
    result = []
    for tensor in network:
        operation = tensor.operation
        if tensor.name in apart:
            operation = Difference()
        elif isinstance(operation, Convolution) and tensor.name in apart.values():
            bias = None if operation.bias is None else -operation.bias
            operation = replace(operation, weight=-operation.weight, bias=bias)
        result.append(replace(tensor, operation=operation))
    return replace(network, tensors=tuple(result))


class Apart(TensorRtLowering):
    """Shortcuts by a kernel of their own."""

    def difference(self, _: Difference, a: Trt, b: Trt) -> Trt:
        return self._elementwise("SUB", b, a)


class SplitSums(TensorRtLowering):
    """Large convolutions as groups over parts of their channels, which are added up after.

    For one image such a convolution has few tiles, each with a long sum, of which TensorRT 8.6 makes no parts.
    """

    parts: ClassVar[int] = 4
    channels: ClassVar[int] = 512
    """Of inputs, from which on it is done."""

    def convolution(self, op: Convolution, x: Trt) -> Trt:
        outputs, inputs, *kernel = op.weight.shape
        if inputs < self.channels or kernel == [1, 1] or op.scale is not None:
            return super().convolution(op, x)
        few = inputs // self.parts
        weight = np.concatenate([op.weight[:, start : start + few] for start in range(0, inputs, few)])
        bias = None if op.bias is None else np.append(op.bias, np.zeros((self.parts - 1) * outputs))
        y = super().convolution(replace(op, weight=weight, bias=bias), x)
        self._layers[-1].num_groups = self.parts
        maps = self._layer("add_shuffle", y)
        maps.reshape_dims = (0, self.parts, outputs, *tuple(y.shape)[2:])
        return self._add("add_reduce", maps.get_output(0), self._trt.ReduceOperation.SUM, 1 << 1, False)


class SplitInTwo(SplitSums):
    """The same, in two parts, from half as many channels on."""

    parts = 2
    channels = 256

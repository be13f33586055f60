"""Other layers for the shortcuts of residual blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastrt.network import Network
from fastrt.ops import Add, Convolution
from fastrt.targets.tensorrt.dialect import Trt
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

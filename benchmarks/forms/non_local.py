"""Other layers for non-local blocks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from fastrt.network import Network, Tensor, make_tensor
from fastrt.ops import Cast, Convolution, ReduceMean, Slice
from fastrt.targets.tensorrt.dialect import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class Chosen(TensorRtLowering):
    """A choice stands between the mean and what it is multiplied with."""

    def reduce_mean(self, op: ReduceMean, x: Trt) -> Trt:
        return self._at_least(-1e30, super().reduce_mean(op, x))


class Uncast(TensorRtLowering):
    """The builder places the cast after the product."""

    def cast(self, op: Cast, x: Trt) -> Trt:
        return x if x.dtype == self._trt.DataType.FLOAT else super().cast(op, x)


class ChosenUncast(Chosen, Uncast):
    """Both."""


def join_maps(network: Network) -> Network:
    """A prepared network whose convolutions to a single channel are one, where they take the same; channels are sliced.

    If slices are for the fusing compiler alone, it takes what stands around them, too.
    """
    single: dict[tuple[str, ...], list[Tensor]] = defaultdict(list)
    for tensor in network:
        if isinstance(tensor.operation, Convolution) and tensor.shape[0] == 1:
            single[tensor.inputs].append(tensor)
    first = {group[0].name: group for group in single.values() if len(group) > 1}
    joined = {tensor.name for group in first.values() for tensor in group}
    result: list[Tensor] = []
    for tensor in network:
        if tensor.name in first:
            group = first[tensor.name]
            together = replace(tensor, name=f"{tensor.name}.joined", operation=_stack(group), shape=_shape(group))
            result.append(together)
            result += [
                replace(make_tensor(member.name, Slice(0, i, i + 1), [together]), dtype=member.dtype)
                for i, member in enumerate(group)
            ]
        elif tensor.name not in joined:
            result.append(tensor)
    return replace(network, tensors=tuple(result))


def _stack(group: list[Tensor]) -> Convolution:
    operations = [tensor.operation for tensor in group if isinstance(tensor.operation, Convolution)]
    biases = [np.zeros(1) if operation.bias is None else operation.bias for operation in operations]
    weight = np.concatenate([operation.weight for operation in operations])
    return replace(operations[0], weight=weight, bias=np.concatenate(biases))


def _shape(group: list[Tensor]) -> tuple[int, ...]:
    return len(group), *group[0].shape[1:]

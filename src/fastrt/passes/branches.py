"""Merge parallel convolutions that are only summed.

A sum of convolutions of one input with equal strides and groups is one convolution: its kernel is the sum of their
kernels, with zeros around the smaller one. A scale and shift of that input is a 1x1 convolution. RepVGG has such
branches. A residual network has none, because its shortcut reads another input than the convolution beside it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastrt.arrays import Array
from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import Add, Convolution, Operation, ScaleShift


def merge_branches(network: Network) -> Network:
    """Replace each sum of convolutions, scales and shifts of one input by one convolution, computed in float64.

    The convolution takes the sum's name. Branches with another reader and ``exact`` tensors stay.
    """
    consumers = network.consumers()
    made = {tensor.name: tensor for tensor in network}
    for tensor in network:
        if not isinstance(tensor.operation, Add):
            continue
        branches = [made[name] for name in tensor.inputs]
        one, two = branches
        read_elsewhere = any(consumers[branch.name] != [tensor] for branch in branches)
        if read_elsewhere or one.inputs != two.inputs or any(part.exact for part in (tensor, *branches)):
            continue
        if one.shape == two.shape and (merged := _merge(one.operation, two.operation)) is not None:
            made[tensor.name] = replace(tensor, operation=merged, inputs=one.inputs)
            del made[one.name], made[two.name]
    return replace(network, tensors=tuple(_round(tensor) for tensor in made.values()))


def _merge(one: Operation, two: Operation) -> Convolution | None:
    """Return the sum of two operations on one input as a convolution with float64 arrays; None if it is not one."""
    narrow, wide = sorted((one, two), key=_count_pixels)
    if isinstance(narrow, ScaleShift) and isinstance(wide, Convolution) and narrow.scale.ndim == 1:
        narrow = _as_convolution(narrow, wide.groups)
    if not isinstance(narrow, Convolution) or not isinstance(wide, Convolution):
        return None
    quantized = narrow.scale is not None or wide.scale is not None
    if quantized or (narrow.strides, narrow.groups) != (wide.strides, wide.groups):
        return None
    margin, rest = divmod(wide.padding - narrow.padding, wide.dilation)
    fits = tuple(size + 2 * margin for size in narrow.weight.shape[2:]) == wide.weight.shape[2:]
    if rest or not fits or (_count_pixels(narrow) > 1 and narrow.dilation != wide.dilation):
        return None
    around = ((0, 0), (0, 0), (margin, margin), (margin, margin))
    weight = wide.weight.astype(np.float64) + np.pad(narrow.weight.astype(np.float64), around)
    return replace(wide, weight=weight, bias=_get_bias(wide) + _get_bias(narrow))


def _count_pixels(operation: Operation) -> int:
    return int(np.prod(operation.weight.shape[2:])) if isinstance(operation, Convolution) else 0


def _as_convolution(operation: ScaleShift, groups: int) -> Convolution:
    """Return a scale and shift as a 1x1 convolution in groups, with float64 arrays."""
    channels = np.arange(len(operation.scale))
    each = len(channels) // groups
    weight = np.zeros((len(channels), each, 1, 1))
    weight[channels, channels % each, 0, 0] = operation.scale
    return Convolution(weight, operation.shift, groups=groups)


def _get_bias(operation: Convolution) -> Array:
    return np.zeros(len(operation.weight)) if operation.bias is None else operation.bias.astype(np.float64)


def _round(tensor: Tensor) -> Tensor:
    """Round the float64 arrays of a merged convolution to float32."""
    operation = tensor.operation
    if not isinstance(operation, Convolution) or operation.weight.dtype != np.float64:
        return tensor
    weight, bias = operation.weight.astype(np.float32), _get_bias(operation).astype(np.float32)
    return replace(tensor, operation=replace(operation, weight=weight, bias=bias))

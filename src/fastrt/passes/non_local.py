"""Join the convolutions of a non-local block that map the same feature map to a single channel each.

Separately, each reads the whole feature map, and a single channel costs a runtime as much as 8 or 16. One joined
convolution reads it once; its channels are the outputs. A single channel has no groups; the dilation must be equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Convolution, Slice


def join_single_channels(network: Network) -> Network:
    """Replace single-channel convolutions with equal input and geometry by one convolution and its slices.

    Each slice takes the name of the convolution that it replaces.
    """
    alike: dict[tuple[object, ...], list[Tensor]] = defaultdict(list)
    for tensor in network:
        operation = tensor.operation
        if isinstance(operation, Convolution) and len(operation.weight) == 1 and operation.scale is None:
            geometry = operation.weight.shape, operation.stride, operation.padding, operation.dilation
            alike[tensor.inputs, geometry].append(tensor)
    groups = {group[0].name: group for group in alike.values() if len(group) > 1}
    joined = {tensor.name for group in groups.values() for tensor in group}
    result: list[Tensor] = []
    for tensor in network:
        if tensor.name in groups:
            inputs = [network[name] for name in tensor.inputs]
            together = make_tensor(f"{tensor.name}.joined", _join(groups[tensor.name]), inputs)
            slices = (
                make_tensor(t.name, Slice(0, i, i + 1), [together], exact=t.exact)
                for i, t in enumerate(groups[tensor.name])
            )
            result += [together, *slices]
        elif tensor.name not in joined:
            result.append(tensor)
    return replace(network, tensors=tuple(result))


def _join(group: Sequence[Tensor]) -> Convolution:
    first, *_ = operations = [tensor.operation for tensor in group if isinstance(tensor.operation, Convolution)]
    biases = [np.zeros(1, np.float32) if operation.bias is None else operation.bias for operation in operations]
    weight = np.concatenate([operation.weight for operation in operations])
    return replace(first, weight=weight, bias=np.concatenate(biases))

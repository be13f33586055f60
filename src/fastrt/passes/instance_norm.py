"""Split the convolution before IBN-a into one convolution per half of the channels.

A slice of a convolution's channels is the convolution with a slice of its weights. The runtime then normalises one
half without a copy out of a common feature map. It fuses the operations after the other half into its convolution,
also in int8. A convolution with groups is not split: a slice of its channels may end inside a group. Dilation is kept.
The second convolution always pays on OpenVINO, and on TensorRT for batches of more than a few images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import Convolution, Slice


def split_before_slices(network: Network) -> Network:
    """Replace a convolution that only channel slices read by one convolution per slice.

    Each convolution takes the name of the slice that it replaces.
    """
    consumers = network.consumers()
    split = {
        tensor.name: tensor
        for tensor in network
        if isinstance(tensor.operation, Convolution)
        and tensor.operation.groups == 1
        and consumers[tensor.name]
        and all(isinstance(other.operation, Slice) and other.operation.axis == 0 for other in consumers[tensor.name])
    }
    result: list[Tensor] = []
    for tensor in network:
        source = split.get(tensor.inputs[0]) if tensor.inputs else None
        if source is not None:
            assert isinstance(tensor.operation, Slice)
            rows = slice(tensor.operation.start, tensor.operation.stop)
            result.append(replace(tensor, operation=_take_rows(source, rows), inputs=source.inputs))
        elif tensor.name not in split:
            result.append(tensor)
    return replace(network, tensors=tuple(result))


def _take_rows(tensor: Tensor, rows: slice) -> Convolution:
    operation = tensor.operation
    assert isinstance(operation, Convolution)
    bias, scale = (
        None if array is None else np.ascontiguousarray(array[rows]) for array in (operation.bias, operation.scale)
    )
    return replace(operation, weight=np.ascontiguousarray(operation.weight[rows]), bias=bias, scale=scale)

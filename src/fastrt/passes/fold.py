"""Fold scales and shifts into the convolutions before them.

A batch norm after a convolution is a scale and a shift of each output channel, and ``s * (W x + b) + t`` is
``(s W) x + (s b + t)``. A slice of channels commutes with a convolution, so the batch-norm half of IBN-a folds too:
into the rows that it slices. Groups and dilation change nothing here: only rows of weights, one for each output
channel, are scaled. What stays has no convolution right before it: the pixels' standardisation, whose
shift must not go into the convolution after it (zero padding would then no longer be the mean), and a neck right
after pooling.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import Convolution, ScaleShift, Slice


def fold_scales(network: Network) -> Network:
    """The same network with every scale and shift that follows a convolution folded into it, computed in float64.

    A name keeps its value: a convolution that swallowed a batch norm is called as the norm was, and one of which only
    some rows are scaled is called ``.folded``.
    """
    tensors = {tensor.name: tensor for tensor in network}
    consumers = network.consumers()
    folded: dict[str, Convolution] = {}
    swallowed: set[str] = set()
    names: dict[str, str] = {}
    for tensor in network:
        if not isinstance(tensor.operation, ScaleShift) or tensor.exact:
            continue
        before = tensors[tensor.inputs[0]]
        rows = slice(None)
        source = before
        if isinstance(before.operation, Slice) and before.operation.axis == 0:
            rows = slice(before.operation.start, before.operation.stop)
            source = tensors[before.inputs[0]]
        convolution = folded.get(source.name, source.operation)
        if not isinstance(convolution, Convolution) or not _only(tensor, before, source, consumers):
            continue
        folded[source.name] = _scale_rows(convolution, tensor.operation, rows)
        swallowed.add(tensor.name)
        if source is not before:
            names[source.name] = f"{source.name}.folded"
        names[before.name] = tensor.name
    return replace(
        network,
        tensors=tuple(
            replace(
                tensor,
                name=names.get(tensor.name, tensor.name),
                operation=folded.get(tensor.name, tensor.operation),
                inputs=tuple(names.get(name, name) for name in tensor.inputs),
            )
            for tensor in network
            if tensor.name not in swallowed
        ),
    )


def _only(tensor: Tensor, before: Tensor, source: Tensor, consumers: dict[str, list[Tensor]]) -> bool:
    """Whether nothing but ``tensor`` sees the rows of ``source`` that it scales."""
    if consumers[before.name] != [tensor]:
        return False
    if source is before:
        return True
    assert isinstance(before.operation, Slice)
    start, stop = before.operation.start, before.operation.stop
    for other in consumers[source.name]:
        operation = other.operation
        if other is not before and not (
            isinstance(operation, Slice)
            and operation.axis == 0
            and (operation.stop <= start or stop <= operation.start)
        ):
            return False
    return True


def _scale_rows(convolution: Convolution, norm: ScaleShift, rows: slice) -> Convolution:
    weight = convolution.weight.astype(np.float64)
    bias = np.zeros(len(weight)) if convolution.bias is None else convolution.bias.astype(np.float64)
    weight[rows] *= norm.scale[:, None, None, None]
    bias[rows] = bias[rows] * norm.scale + norm.shift
    return replace(convolution, weight=weight.astype(np.float32), bias=bias.astype(np.float32))

"""Fold scales and shifts into the convolutions before them.

A batch norm after a convolution scales and shifts each output channel: ``s * (W x + b) + t`` is
``(s W) x + (s b + t)``. A slice of channels commutes with a convolution, so the batch-norm half of IBN-a also folds,
into the rows that it slices. Groups and dilation do not matter: only rows of weights, one per output channel, are
scaled.

Scales and shifts without a convolution directly before them stay: the standardisation of pixels, and a neck directly
after pooling. The standardisation's shift must not move into the convolution after it, because zero padding would then
no longer be the mean.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import Convolution, ScaleShift, Slice


def fold_scales(network: Network) -> Network:
    """Fold every scale and shift that follows a convolution into it, in float64.

    A name keeps its value: a convolution with a folded batch norm takes the norm's name. A convolution with only some
    scaled rows gets the suffix ``.folded``.
    """
    consumers = network.consumers()
    folded: dict[str, Convolution] = {}
    swallowed: set[str] = set()
    names: dict[str, str] = {}
    for tensor in network:
        if not isinstance(tensor.operation, ScaleShift) or tensor.exact:
            continue
        before = network[tensor.inputs[0]]
        rows = slice(None)
        source = before
        if isinstance(before.operation, Slice) and before.operation.axis == 0:
            rows = slice(before.operation.start, before.operation.stop)
            source = network[before.inputs[0]]
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
    """Return True if only ``tensor`` reads the rows of ``source`` that it scales."""
    if consumers[before.name] != [tensor] or source is before:
        return consumers[before.name] == [tensor]
    rows = before.operation
    assert isinstance(rows, Slice)
    others = (other.operation for other in consumers[source.name] if other is not before)
    return all(
        isinstance(other, Slice) and other.axis == 0 and (other.stop <= rows.start or rows.stop <= other.start)
        for other in others
    )


def _scale_rows(convolution: Convolution, norm: ScaleShift, rows: slice) -> Convolution:
    weight = convolution.weight.astype(np.float64)
    bias = np.zeros(len(weight)) if convolution.bias is None else convolution.bias.astype(np.float64)
    weight[rows] *= norm.scale[:, None, None, None]
    bias[rows] = bias[rows] * norm.scale + norm.shift
    return replace(convolution, weight=weight.astype(np.float32), bias=bias.astype(np.float32))

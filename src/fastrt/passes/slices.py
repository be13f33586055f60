"""Split the convolutions before slices of channels, as in IBN-a and split attention, into one convolution per slice.

A slice of a convolution's channels is the convolution with a slice of its weights. The runtime then normalises one
half without a copy out of a common feature map. It fuses the operations after the other half into its convolution,
also in int8. Dilation is kept. The second convolution always pays on OpenVINO, and on TensorRT for batches of more
than a few images.

A slice of whole groups reads a slice of the input's channels. If only that convolution reads its input, the slices move
on, through `POINTWISE` operations, to a convolution without groups. The two groups of a split attention become two
convolutions that way, each after its half of the convolution before. A convolution is not split if a slice ends inside
a group, or if the slices would remain before it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Convolution, Operation, QuantizeDequantize, Relu, Sigmoid, Slice

POINTWISE = (Relu, Sigmoid, QuantizeDequantize)
"""Operations whose channels are computed apart."""


def split_before_slices(network: Network) -> Network:
    """Replace a convolution that only channel slices read by one convolution per slice.

    The last tensor of each part takes the name of the slice that it replaces.
    """
    consumers = network.consumers()
    chains = _find_chains(network)
    replaced = {link.name for chain in chains.values() for link in chain}
    result: list[Tensor] = []
    for tensor in network:
        chain = chains.get(tensor.inputs[0]) if tensor.inputs else None
        if chain is not None and isinstance(tensor.operation, Slice):
            nth = consumers[chain[-1].name].index(tensor)
            x = network[chain[0].inputs[0]]
            for operation, link in zip(_take_rows(chain, tensor.operation), chain, strict=True):
                x = make_tensor(_name_part(link, chain, tensor, nth), operation, [x], exact=link.exact)
                result.append(x)
        elif tensor.name not in replaced:
            result.append(tensor)
    return replace(network, tensors=tuple(result))


def list_parts(network: Network) -> dict[str, str]:
    """Map the names of the parts in the split network to the names of the tensors that were split."""
    consumers = network.consumers()
    return {
        _name_part(link, chain, tensor, nth): link.name
        for chain in _find_chains(network).values()
        for nth, tensor in enumerate(consumers[chain[-1].name])
        for link in chain
    }


def _find_chains(network: Network) -> dict[str, list[Tensor]]:
    """Find the tensors to split: from a convolution without groups to the tensor that slices read, by its name."""
    consumers = network.consumers()
    chains: dict[str, list[Tensor]] = {}
    for tensor in network:
        slices = [other.operation for other in consumers[tensor.name] if isinstance(other.operation, Slice)]
        if not slices or len(slices) < len(consumers[tensor.name]) or any(one.axis != 0 for one in slices):
            continue
        chain = [tensor]
        rows = [slice(one.start, one.stop) for one in slices]
        while not _is_plain(chain[0].operation) and all(_is_apart(chain[0].operation, one) for one in rows):
            before = network[chain[0].inputs[0]]
            if consumers[before.name] != chain[:1]:
                break
            rows = [_find_inputs(chain[0].operation, one) for one in rows]
            chain.insert(0, before)
        if _is_plain(chain[0].operation):
            chains[tensor.name] = chain
    return chains


def _name_part(link: Tensor, chain: list[Tensor], tensor: Tensor, nth: int) -> str:
    return tensor.name if link is chain[-1] else f"{link.name}.part{nth}"


def _is_plain(operation: Operation) -> bool:
    return isinstance(operation, Convolution) and operation.groups == 1


def _is_apart(operation: Operation, rows: slice) -> bool:
    """Return True if the channels ``rows`` depend on a range of the input's channels."""
    if isinstance(operation, Convolution):
        each = len(operation.weight) // operation.groups
        return all(end % each == 0 for end in (rows.start, rows.stop))
    return isinstance(operation, POINTWISE)


def _find_inputs(operation: Operation, rows: slice) -> slice:
    """Return the input channels that the channels ``rows`` depend on."""
    if not isinstance(operation, Convolution):
        return rows
    outputs, inputs = len(operation.weight) // operation.groups, operation.weight.shape[1]
    return slice(rows.start // outputs * inputs, rows.stop // outputs * inputs)


def _take_rows(chain: list[Tensor], last: Slice) -> list[Operation]:
    """Return the operations of a chain that compute the channels of the slice after it."""
    rows = slice(last.start, last.stop)
    taken: list[Operation] = []
    for link in reversed(chain):
        operation = link.operation
        taken.insert(0, operation)
        if isinstance(operation, Convolution):
            bias, scale = (
                None if array is None else np.ascontiguousarray(array[rows])
                for array in (operation.bias, operation.scale)
            )
            weight = np.ascontiguousarray(operation.weight[rows])
            groups = operation.groups * len(weight) // len(operation.weight) if operation.groups > 1 else 1
            taken[0] = replace(operation, weight=weight, bias=bias, scale=scale, groups=groups)
        if link is not chain[0]:
            rows = _find_inputs(operation, rows)
    return taken

"""Eight bits, written into the network: Q/DQ pairs on what convolutions take, and int8 weights.

Between two pairs a runtime computes in integers. What must stay in floating point does so by having none: GeM, norms,
the neck, and non-local blocks, which are worth nothing in speed and much in accuracy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import CalibrationError
from fastrt.network import Network, Tensor, make_tensor
from fastrt.ops import Add, Convolution, MaxPool, Multiply, QuantizeDequantize, ReduceMean, Reshape

LEVELS = 127
"""Steps of a signed grid on either side of 0; the 128th, below, is left alone, so that weights stay symmetric."""

FEWEST_OUTPUTS = 8
"""Output channels of a convolution that is worth eight bits."""


@dataclass(frozen=True)
class Placement:
    """How a runtime wants its Q/DQ pairs.

    Attributes:
        unsigned: whether what is never negative goes onto the 255 steps of uint8, or the 127 of int8.
        signed: the grid of the rest, symmetric either way.
        both_sides: whether an addition wants both its inputs quantized, or the shortcut alone, as the convolution
            before it is fused with it.
    """

    unsigned: bool
    signed: str
    both_sides: bool


class Range(Protocol):
    """What a tensor's values were seen to be: the least, and the size that is worth representing."""

    @property
    def low(self) -> float:
        """The least value."""

    @property
    def amax(self) -> float:
        """The largest magnitude that is worth representing."""


def quantize(
    network: Network,
    ranges: Mapping[str, Range],
    placement: Placement,
    kept: Collection[str] = (),
    means: Mapping[str, Array] | None = None,
) -> Network:
    """The network with its convolutions in eight bits.

    A pair stands right after the tensor that it quantizes, once, whoever reads it: convolutions, and additions as their
    shortcut. It stands before a max pooling, which changes no value.

    Args:
        network: with its scales folded.
        ranges: by tensor name, for all of `list_sites`.
        placement: the runtime's.
        kept: convolutions that stay in floating point, by name.
        means: each input channel's mean, by the name of a convolution's input. What rounding the weights moves an
            output by on average is then taken back by the bias.

    Raises:
        CalibrationError: a range is missing, or ``kept`` names what is no convolution in eight bits.
    """
    convolutions = list_convolutions(network)
    if unknown := sorted(set(kept) - set(convolutions)):
        raise CalibrationError(f"{unknown[0]} is no convolution that is computed in int8, so it cannot be kept from it")
    chosen = set(convolutions) - set(kept)
    sites = _Sites(network, chosen, placement.both_sides)
    result: list[Tensor] = []
    made: dict[str, Tensor] = {}
    for tensor in network:
        inputs = [made[sites.names.get((tensor.name, name), name)] for name in tensor.inputs]
        operation = tensor.operation
        if tensor.name in chosen:
            assert isinstance(operation, Convolution)
            operation = quantize_weights(operation, None if means is None else means.get(tensor.inputs[0]))
        made[tensor.name] = make_tensor(tensor.name, operation, inputs) if inputs else tensor
        result.append(made[tensor.name])
        if tensor.name in sites.quantized:
            if tensor.name not in ranges:
                raise CalibrationError(f"the calibration table has no range of {tensor.name}; calibrate again")
            name = _pair_name(tensor.name)
            pair = make_tensor(name, place(ranges[tensor.name], placement), [made[tensor.name]])
            made[name] = pair
            result.append(pair)
    return replace(network, tensors=tuple(result))


def list_convolutions(network: Network) -> list[str]:
    """The convolutions that can be computed in eight bits, by name, in order.

    All that see a feature map, but for those of non-local blocks: their products and means need more than eight bits,
    and so do the convolutions that make and take them.
    """
    tensors = {tensor.name: tensor for tensor in network}
    consumers = network.consumers()
    names = []
    for tensor in network:
        operation = tensor.operation
        if not isinstance(operation, Convolution) or len(operation.weight) < FEWEST_OUTPUTS:
            continue
        source = tensors[tensor.inputs[0]]
        is_map = source.shape[1:] != (1, 1)
        takes_product = isinstance(source.operation, Multiply | Reshape)
        if is_map and not takes_product and not any(_is_product(other, consumers) for other in consumers[tensor.name]):
            names.append(tensor.name)
    return names


def list_sites(network: Network) -> list[str]:
    """The tensors of which some placement wants the range, by name, in order."""
    chosen = set(list_convolutions(network))
    quantized = _Sites(network, chosen, both_sides=True).quantized
    return [tensor.name for tensor in network if tensor.name in quantized]


def list_inputs(network: Network) -> list[str]:
    """What the convolutions take that can be computed in eight bits, by name, in order."""
    chosen = set(list_convolutions(network))
    inputs = {network[name].inputs[0] for name in chosen}
    return [tensor.name for tensor in network if tensor.name in inputs]


def place(found: Range, placement: Placement) -> QuantizeDequantize:
    """The pair for a range; one of nothing but zeros gets a scale of 1, as a scale must be positive.

    >>> from types import SimpleNamespace
    >>> place(SimpleNamespace(low=0.0, amax=63.75), Placement(True, "int8", False))
    QuantizeDequantize(scale=0.25, zero_point=0, grid='uint8')
    >>> place(SimpleNamespace(low=-1.0, amax=31.75), Placement(True, "int8", False))
    QuantizeDequantize(scale=0.25, zero_point=0, grid='int8')
    """
    grid = "uint8" if placement.unsigned and found.low >= 0 else placement.signed
    steps = 2 * LEVELS + 1 if grid == "uint8" and found.low >= 0 else LEVELS
    zero_point = 128 if grid == "uint8" and found.low < 0 else 0
    return QuantizeDequantize(found.amax / steps or 1.0, zero_point, grid)


def quantize_weights(operation: Convolution, mean: Array | None = None) -> Convolution:
    """The convolution with int8 weights, each output channel's largest at 127.

    A channel of nothing but zeros gets a scale of 1. With the input channels' ``mean``, the bias takes back what
    rounding moves the output by on average.
    """
    weight = operation.weight.astype(np.float64)
    scale = np.abs(weight).max((1, 2, 3)) / LEVELS
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 1.0).astype(np.float32)
    integers = np.clip(np.rint(weight / scale[:, None, None, None]), -LEVELS, LEVELS).astype(np.int8)
    quantized = replace(operation, weight=integers, scale=scale)
    if mean is None:
        return quantized
    moved = (weight - quantized.dequantized()).sum((2, 3)) @ np.asarray(mean, np.float64)
    bias = moved if operation.bias is None else operation.bias + moved
    return replace(quantized, bias=bias.astype(np.float32))


class _Sites:
    """Where pairs stand: the tensors that are ``quantized``, and for whom: a pair's name by consumer and tensor."""

    def __init__(self, network: Network, chosen: set[str], both_sides: bool) -> None:
        self.quantized: set[str] = set()
        self.names: dict[tuple[str, str], str] = {}
        self._tensors = {tensor.name: tensor for tensor in network}
        for tensor in network:
            if tensor.name in chosen:
                self._quantize(tensor, tensor.inputs[0])
            elif isinstance(tensor.operation, Add) and tensor.inputs[0] in chosen:
                # The first input is the branch, the second the shortcut: so all blocks are written.
                for name in tensor.inputs if both_sides else tensor.inputs[1:]:
                    self._quantize(tensor, name)

    def _quantize(self, consumer: Tensor, name: str) -> None:
        source = self._tensors[name]
        if isinstance(source.operation, MaxPool):
            consumer, name = source, source.inputs[0]
        self.quantized.add(name)
        self.names[consumer.name, name] = _pair_name(name)


def _pair_name(name: str) -> str:
    return f"{name}.quantized"


def _is_product(tensor: Tensor, consumers: Mapping[str, list[Tensor]]) -> bool:
    """Whether a tensor is a non-local block's: a product that a mean or a convolution takes, or its flat form."""
    if isinstance(tensor.operation, Reshape):
        return True
    takers = (other.operation for other in consumers[tensor.name])
    return isinstance(tensor.operation, Multiply) and any(
        isinstance(taker, ReduceMean | Convolution) for taker in takers
    )

"""Eight bits, written into the network: Q/DQ pairs on what convolutions take, and int8 weights.

Between two pairs a runtime computes in integers. What must stay in floating point does so by having none: GeM, norms,
the neck, and non-local blocks, which are worth nothing in speed and much in accuracy. Convolutions with groups
(depthwise too) or dilation are quantized like all others: scales are per output channel, and sums are within a group.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import CalibrationError
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Add, Convolution, MaxPool, QuantizeDequantize

LEVELS = 127
"""Steps of a signed grid on either side of 0; the 128th, below, is left alone, so that weights stay symmetric."""

LARGEST_BIAS = 2**30
"""Magnitude of an int32 bias; half of what fits, as corrections and sums are added to it."""

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
        pairs_in_int16: whether some CPUs add the products of two input channels in 16 bits, which saturates. Weights
            are then scaled so that no such sum overflows, and an engine computes the same on every CPU.
        bias_in_int32: whether the runtime rounds biases to multiples of input scale times weight scale. The network
            then holds the rounded biases, so that its reference computes what the runtime computes.
    """

    unsigned: bool
    signed: str
    both_sides: bool
    pairs_in_int16: bool
    bias_in_int32: bool


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
        CalibrationError: a range is missing, means are of another number of channels, or ``kept`` names a tensor
            that is not a convolution in int8.
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
            mean = None if means is None else means.get(tensor.inputs[0])
            if mean is not None and len(mean) != operation.weight.shape[1] * operation.groups:
                raise CalibrationError(
                    f"the calibration table has {len(mean)} means of {tensor.inputs[0]}; expected one for each of its"
                    f" {operation.weight.shape[1] * operation.groups} channels. Calibrate again."
                )
            grid = made[_pair_name(sites.site(tensor.inputs[0]))].operation
            assert isinstance(grid, QuantizeDequantize)
            operation = quantize_weights(operation, mean, grid.scale, placement)
        made[tensor.name] = make_tensor(tensor.name, operation, inputs, exact=tensor.exact) if inputs else tensor
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

    All that see a feature map, but those that make or take a tensor marked ``exact``, such as a non-local block's
    products: what needs float32 cannot be made of int8.
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
        if is_map and not any(other.exact for other in (source, tensor, *consumers[tensor.name])):
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
    """The pair for a range; one of zeros gets a scale of 1, as a scale must be a positive float32.

    >>> from types import SimpleNamespace
    >>> place(SimpleNamespace(low=0.0, amax=63.75), Placement(True, "int8", False, True, False))
    QuantizeDequantize(scale=0.25, zero_point=0, grid='uint8')
    >>> place(SimpleNamespace(low=-1.0, amax=31.75), Placement(True, "int8", False, True, False))
    QuantizeDequantize(scale=0.25, zero_point=0, grid='int8')
    """
    grid = "uint8" if placement.unsigned and found.low >= 0 else placement.signed
    steps = 2 * LEVELS + 1 if grid == "uint8" and found.low >= 0 else LEVELS
    zero_point = 128 if grid == "uint8" and found.low < 0 else 0
    scale = found.amax / steps
    return QuantizeDequantize(scale if scale > np.finfo(np.float32).tiny else 1.0, zero_point, grid)


def quantize_weights(
    operation: Convolution, mean: Array | None, input_scale: float, placement: Placement
) -> Convolution:
    """The convolution with int8 weights and a scale for each output channel.

    The largest weight of a channel becomes 127, or the largest sum of two weights whose products are added in 16 bits,
    where the placement asks for that and the sum is larger. Rounding adds 1 at most, and 255 * 128 fits in 16 bits.
    A channel of zeros gets a scale of 1. With the input channels' ``mean``, the bias subtracts the mean output error
    that rounding the weights causes.
    """
    weight = operation.weight.astype(np.float64)
    bias = np.zeros(len(weight)) if operation.bias is None else operation.bias.astype(np.float64)
    largest = np.abs(weight).max((1, 2, 3))
    if placement.pairs_in_int16:
        largest = np.maximum(largest, _largest_pair_sums(weight))
    if placement.bias_in_int32:
        # A channel with weights of next to nothing: they may become 0, but its bias must fit.
        largest = np.maximum(largest, LEVELS * np.abs(bias) / (input_scale * LARGEST_BIAS))
    scale = largest / LEVELS
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 1.0).astype(np.float32)
    integers = np.clip(np.rint(weight / scale[:, None, None, None]), -LEVELS, LEVELS).astype(np.int8)
    quantized = replace(operation, weight=integers, scale=scale)
    if operation.bias is None and mean is None:
        return quantized
    if mean is not None:
        errors = np.split((weight - quantized.dequantized()).sum((2, 3)), operation.groups)
        means = np.split(np.asarray(mean, np.float64), operation.groups)
        bias = bias + np.concatenate([error @ part for error, part in zip(errors, means, strict=True)])
    if placement.bias_in_int32:
        step = np.float32(input_scale) * scale
        bias = np.rint(bias / step) * step
    return replace(quantized, bias=bias.astype(np.float32))


def _largest_pair_sums(weight: Array) -> Array:
    """Largest magnitude of the sum of two weights whose products are added in 16 bits, by output channel: ``(o,)``.

    Kernels for x86-64 CPUs without VNNI multiply with ``vpmaddubsw``. It adds the products of input channels 2j and
    2j + 1 at the same place of the filter. Where the number of input channels is odd, as in the stem, onnxruntime's
    pairs run on from one place to the next, and the channels may be reversed later (BGR): all neighbours count there.

    With groups, a filter holds the channels of its own group, and sums are within it. A depthwise filter has one
    channel, so neighbours in its window count.

    Only weights of the same sign count: products of unlike signs cannot overflow.
    """
    outputs, inputs = weight.shape[:2]
    halves = np.maximum([weight, -weight], 0)
    if inputs % 2:
        orders = [halves[:, :, ::step].transpose(0, 1, 3, 4, 2).reshape(2, outputs, -1) for step in (1, -1)]
        flat = np.pad(np.stack(orders), ((0, 0), (0, 0), (0, 0), (0, 1)))
        return np.asarray((flat[..., 1:] + flat[..., :-1]).max((0, 1, 3)))
    return np.asarray(halves.reshape(2, outputs, inputs // 2, 2, -1).sum(3).max((0, 2, 3)))


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

    def site(self, name: str) -> str:
        """The tensor that is quantized for whoever reads ``name``."""
        source = self._tensors[name]
        return source.inputs[0] if isinstance(source.operation, MaxPool) else name

    def _quantize(self, consumer: Tensor, name: str) -> None:
        site = self.site(name)
        self.quantized.add(site)
        self.names[consumer.name if site == name else name, site] = _pair_name(site)


def _pair_name(name: str) -> str:
    return f"{name}.quantized"

"""int8, written into the network: Q/DQ pairs on the inputs of convolutions and linear layers, and int8 weights.

Between two pairs a runtime computes in integers. Tensors without a pair stay in floating point: GeM, norms, the neck
and non-local blocks. In int8 these would gain no speed and lose much accuracy. Convolutions with groups (depthwise
included) or dilation are quantized like all others: scales are per output channel, and sums are within a group.

In a transformer only the linear layers are quantized. The products and softmax of attention, GELU and the residual
additions stay in floating point: a residual of tokens has few outlying features, which need a range that int8 divides
too coarsely, and each layer norm reads it in floating point.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import CalibrationError
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import WEIGHTED, Add, Convolution, Linear, MaxPool, QuantizeDequantize

LEVELS = 127
"""Steps of a signed grid on each side of 0; -128 is unused, so that weights stay symmetric."""

LARGEST_BIAS = 2**30
"""Largest magnitude of an int32 bias: half of the int32 range, because corrections and sums are added to it."""

FEWEST_OUTPUTS = 8
"""Smallest number of output channels that is quantized: one block of channels, below which int8 gains nothing.

Source: oneDNN's blocked layouts, nChw8c and nChw16c.
"""


Layer = TypeVar("Layer", bound=Convolution | Linear)


@dataclass(frozen=True)
class Placement:
    """The Q/DQ pairs that a runtime requires.

    Attributes:
        unsigned: True: tensors without negative values use the 255 steps of uint8; False: the 127 of int8.
        signed: the grid of all other tensors, symmetric in both cases.
        both_sides: True: both inputs of an addition are quantized; False: only the shortcut, because the runtime fuses
            the addition with the convolution before it.
        pairs_in_int16: whether some CPUs add the products of two input channels in 16 bits, which saturates. Weights
            are then scaled so that no such sum overflows, and an engine computes the same on every CPU.
        bias_in_int32: whether the runtime rounds biases to multiples of input scale times weight scale. The network
            then contains the rounded biases, so that the reference matches the runtime.
    """

    unsigned: bool
    signed: str
    both_sides: bool
    pairs_in_int16: bool
    bias_in_int32: bool


class Range(Protocol):
    """The calibrated range of a tensor: the smallest value, and the largest magnitude worth representing."""

    @property
    def low(self) -> float:
        """The smallest value."""

    @property
    def amax(self) -> float:
        """The largest magnitude worth representing."""


def quantize(
    network: Network,
    ranges: Mapping[str, Range],
    placement: Placement,
    excluded: Collection[str] = (),
    means: Mapping[str, Array] | None = None,
) -> Network:
    """Convert the network's convolutions and linear layers to int8.

    Each quantized tensor has one pair, directly after it. All its readers share the pair: layers, and additions
    that read it as the shortcut of a convolution. The pair precedes a max pooling, which changes no value.

    Args:
        network: the network; see `fastrt.passes.simplify`.
        ranges: by tensor name, for all of `list_sites`.
        placement: the runtime's placement.
        excluded: names of the layers excluded from int8.
        means: each input channel's mean, by the name of a layer's input. If given, the bias subtracts the mean
            output error caused by weight rounding.

    Raises:
        CalibrationError: a range is missing, means are of another number of channels, or ``excluded`` names a tensor
            that is not a layer in int8.
    """
    layers = list_layers(network)
    if unknown := sorted(set(excluded) - set(layers)):
        raise CalibrationError(f"{unknown[0]}: it cannot be excluded from int8; expected a layer in int8")
    chosen = set(layers) - set(excluded)
    pairs = _list_pairs(network, chosen, placement.both_sides)
    quantized = {name for _, name in pairs}
    result: list[Tensor] = []
    made: dict[str, Tensor] = {}
    for tensor in network:
        inputs = [made[_pair_name(name) if (tensor.name, name) in pairs else name] for name in tensor.inputs]
        operation = tensor.operation
        if tensor.name in chosen:
            assert isinstance(operation, WEIGHTED)
            mean = None if means is None else means.get(tensor.inputs[0])
            if mean is not None and len(mean) != operation.weight.shape[1] * operation.groups:
                raise CalibrationError(
                    f"calibration table: it has {len(mean)} means of {tensor.inputs[0]}; expected one for each of its"
                    f" {operation.weight.shape[1] * operation.groups} channels. Calibrate again."
                )
            grid = made[_pair_name(_find_site(network, tensor.inputs[0]))].operation
            assert isinstance(grid, QuantizeDequantize)
            operation = quantize_weights(operation, mean, grid.scale, placement)
        made[tensor.name] = make_tensor(tensor.name, operation, inputs, exact=tensor.exact) if inputs else tensor
        result.append(made[tensor.name])
        if tensor.name in quantized:
            if tensor.name not in ranges:
                raise CalibrationError(f"calibration table: it has no range of {tensor.name}. Calibrate again.")
            name = _pair_name(tensor.name)
            pair = make_tensor(name, place(ranges[tensor.name], placement), [made[tensor.name]])
            made[name] = pair
            result.append(pair)
    return replace(network, tensors=tuple(result))


def list_layers(network: Network) -> list[str]:
    """List by name the convolutions and linear layers that int8 can compute, in order.

    Includes every one on a feature map or on several tokens whose input, output and consumers are not marked ``exact``,
    as a non-local block's products are: int8 cannot provide float32 accuracy.
    """
    consumers = network.consumers()
    names = []
    for tensor in network:
        operation = tensor.operation
        if not isinstance(operation, WEIGHTED) or len(operation.weight) < FEWEST_OUTPUTS:
            continue
        source = network[tensor.inputs[0]]
        # A vector per image gains nothing: the class token in the last block, squeeze-and-excitation, the head.
        is_vector = source.shape[0] == 1 if isinstance(operation, Linear) else source.shape[1:] == (1, 1)
        if not is_vector and not any(other.exact for other in (source, tensor, *consumers[tensor.name])):
            names.append(tensor.name)
    return names


def list_sites(network: Network) -> list[str]:
    """List by name the tensors for which some placement requires a range, in order."""
    pairs = _list_pairs(network, set(list_layers(network)), both_sides=True)
    quantized = {name for _, name in pairs}
    return [tensor.name for tensor in network if tensor.name in quantized]


def list_inputs(network: Network) -> list[str]:
    """List by name the inputs of the layers that int8 can compute, in order."""
    inputs = {network[name].inputs[0] for name in list_layers(network)}
    return [tensor.name for tensor in network if tensor.name in inputs]


def place(found: Range, placement: Placement) -> QuantizeDequantize:
    """Return the Q/DQ pair for a range. A range of zeros gets scale 1: a scale must be a positive float32.

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


def quantize_weights(operation: Layer, mean: Array | None, input_scale: float, placement: Placement) -> Layer:
    """Return the convolution or linear layer with int8 weights and one scale per output channel.

    The largest weight of a channel becomes 127. With ``pairs_in_int16``, the largest sum of two weights whose products
    are added in 16 bits becomes 127 if it is larger. Rounding adds at most 1, and 255 * 128 fits in 16 bits. A channel
    of zeros gets a scale of 1. With the input channels' ``mean``, the bias subtracts the mean output error caused by
    weight rounding.
    """
    shape = operation.weight.shape
    weight = operation.weight.astype(np.float64).reshape(*shape, *(1,) * (4 - len(shape)))
    bias = np.zeros(len(weight)) if operation.bias is None else operation.bias.astype(np.float64)
    largest = np.abs(weight).max((1, 2, 3))
    if placement.pairs_in_int16:
        largest = np.maximum(largest, _largest_pair_sums(weight, operation.groups))
    if placement.bias_in_int32:
        # Weights close to 0 may round to 0, but the channel's bias must fit.
        largest = np.maximum(largest, LEVELS * np.abs(bias) / (input_scale * LARGEST_BIAS))
    scale = largest / LEVELS
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 1.0).astype(np.float32)
    integers = np.clip(np.rint(weight / scale[:, None, None, None]), -LEVELS, LEVELS).astype(np.int8)
    quantized = replace(operation, weight=integers.reshape(shape), scale=scale)
    if operation.bias is None and mean is None:
        return quantized
    if mean is not None:
        errors = np.split((weight - quantized.dequantized().reshape(weight.shape)).sum((2, 3)), operation.groups)
        means = np.split(np.asarray(mean, np.float64), operation.groups)
        bias = bias + np.concatenate([error @ part for error, part in zip(errors, means, strict=True)])
    if placement.bias_in_int32:
        step = np.float32(input_scale) * scale
        bias = np.rint(bias / step) * step
    return replace(quantized, bias=bias.astype(np.float32))


def _largest_pair_sums(weight: Array, groups: int) -> Array:
    """Largest magnitude of the sum of two weights whose products are added in 16 bits, by output channel: ``(o,)``.

    Kernels for x86-64 CPUs without VNNI multiply with ``vpmaddubsw``. It adds the products of input channels 2j and
    2j + 1 of a group at the same filter position. With an odd number of input channels, as in the stem, pairs may
    continue from one position to the next. The channels may also be reversed later (BGR). All neighbours count there;
    with one channel, whose filter oneDNN reads by columns, the neighbours in a column too.

    Depthwise convolutions add in 32 bits. Only weights of the same sign count: products of unlike signs cannot
    overflow.
    """
    outputs, inputs = weight.shape[:2]
    if inputs == 1 and groups == outputs:
        return np.zeros(outputs)
    halves = np.maximum([weight, -weight], 0)
    if inputs % 2:
        other = halves.swapaxes(3, 4) if inputs == 1 else halves[:, :, ::-1]
        orders = [order.transpose(0, 1, 3, 4, 2).reshape(2, outputs, -1) for order in (halves, other)]
        flat = np.pad(np.stack(orders), ((0, 0), (0, 0), (0, 0), (0, 1)))
        return np.asarray((flat[..., 1:] + flat[..., :-1]).max((0, 1, 3)))
    return np.asarray(halves.reshape(2, outputs, inputs // 2, 2, -1).sum(3).max((0, 2, 3)))


def _list_pairs(network: Network, chosen: set[str], both_sides: bool) -> set[tuple[str, str]]:
    """List the Q/DQ pairs of the layers ``chosen``: the name of a reader, and of the tensor that it reads."""
    pairs: set[tuple[str, str]] = set()
    convolutions = {name for name in chosen if isinstance(network[name].operation, Convolution)}
    for tensor in network:
        names: tuple[str, ...] = ()
        if tensor.name in chosen:
            names = tensor.inputs
        elif isinstance(tensor.operation, Add) and tensor.inputs[0] in convolutions:
            # In all blocks the first input is the branch and the second the shortcut.
            names = tensor.inputs if both_sides else tensor.inputs[1:]
        for name in names:
            site = _find_site(network, name)
            pairs.add((tensor.name if site == name else name, site))
    return pairs


def _find_site(network: Network, name: str) -> str:
    """Return the tensor to quantize for the readers of ``name``: the input of a max pooling, which changes no value."""
    source = network[name]
    return source.inputs[0] if isinstance(source.operation, MaxPool) else name


def _pair_name(name: str) -> str:
    return f"{name}.quantized"

"""Half precision, written into the network: casts stand where float32 begins and ends.

Tensors that are marked ``exact`` stay in float32: GeM's powers, the means of non-local blocks and their products with
them. So does everything after the pooling: a vector for each image, which costs nothing. All else is half, SE too.
Pixels become half when they are standardised, not before. (An instance norm's statistics are float32 in every runtime,
whatever goes in.) Convolutions with groups or dilation are treated like all others.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Cast, Convolution, Input, Multiply, ScaleShift, Transpose

WIDE = "float32"


def compute_in_half(network: Network, dtype: str) -> Network:
    """The same network with its feature maps in ``dtype``, ``float16`` or ``bfloat16``; its output stays float32."""
    network = shrink_products(network)
    wide = list_float32(network)
    result: list[Tensor] = []
    made: dict[str, Tensor] = {}
    cast: dict[tuple[str, str], Tensor] = {}
    for tensor in network:
        wanted = WIDE if tensor.name in wide else dtype
        inputs = []
        for name in tensor.inputs:
            value = made[name]
            if value.dtype not in (wanted, "uint8"):
                if (name, wanted) not in cast:
                    cast[name, wanted] = make_tensor(f"{name}.{wanted}", Cast(wanted), [value])
                    result.append(cast[name, wanted])
                value = cast[name, wanted]
            inputs.append(value)
        operation = Cast(wanted) if isinstance(tensor.operation, Cast) else tensor.operation
        made[tensor.name] = make_tensor(tensor.name, operation, inputs, exact=tensor.exact)
        result.append(made[tensor.name])
    return replace(network, tensors=tuple(result))


def list_float32(network: Network) -> set[str]:
    """The tensors that stay float32 in a network that computes in half, by name."""
    wide = {tensor.name for tensor in network if tensor.exact}
    pixels = {network.input.name}
    for tensor in network:
        if pixels.issuperset(tensor.inputs) and isinstance(tensor.operation, Input | Cast | Transpose | ScaleShift):
            pixels.add(tensor.name)
    consumers = network.consumers()
    pooled: set[str] = set()
    for tensor in reversed(network.tensors):
        is_vector = math.prod(tensor.shape) == max(tensor.shape)
        if is_vector and pooled.issuperset(other.name for other in consumers[tensor.name]):
            pooled.add(tensor.name)
    return wide | pixels | pooled


def shrink_products(network: Network) -> Network:
    """The same network; where a mean of a product of two convolutions is taken, both convolutions are scaled down.

    That is a non-local block's ``phi * g``, whose products leave half's range first. The scale is a power of two, about
    one by the root of the number of pixels, and the convolution that the mean ends in is scaled up again: all exact.
    """
    tensors = {tensor.name: tensor for tensor in network}
    consumers = network.consumers()
    shrunk: dict[str, float] = {}
    rescaled: dict[str, float] = {}
    for tensor in network:
        mean = consumers[tensor.name]
        if not isinstance(tensor.operation, Multiply) or [other.operation.kind for other in mean] != ["reduce_mean"]:
            continue
        product = consumers[mean[0].name]
        last = consumers[product[0].name] if len(product) == 1 else []
        factors = [tensors[name] for name in tensor.inputs]
        scaled = [*factors, *last]
        if len(last) != 1 or not all(isinstance(other.operation, Convolution) for other in scaled):
            continue
        if any(consumers[factor.name] != [tensor] for factor in factors):
            continue
        exponent = round(math.log2(math.prod(tensor.shape[1:])) / 2)
        shrunk |= {factor.name: 2.0**-exponent for factor in factors}
        rescaled[last[0].name] = 4.0**exponent
    edited = (_scale(tensor, shrunk.get(tensor.name), rescaled.get(tensor.name)) for tensor in network)
    return replace(network, tensors=tuple(edited))


def _scale(tensor: Tensor, output: float | None, inputs: float | None) -> Tensor:
    """A convolution whose output is scaled, or whose input was and is scaled back."""
    operation = tensor.operation
    if not isinstance(operation, Convolution) or (output is None and inputs is None):
        return tensor
    weight = operation.weight * np.float32((output or 1.0) * (inputs or 1.0))
    bias = None if operation.bias is None else operation.bias * np.float32(output or 1.0)
    return replace(tensor, operation=replace(operation, weight=weight, bias=bias))

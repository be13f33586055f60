"""Half precision (FP16 or BF16), written into the network as casts at the borders of float32.

Tensors marked ``exact`` stay in float32: GeM's powers, the means of non-local blocks and their products with them.
Everything after the pooling also stays in float32: one vector per image costs nothing. All other tensors are half
precision, SE included. Pixels are cast after their standardisation. Convolutions with groups or dilation get no special
treatment.

Instance norms, layer norms and softmax read and return half precision, and get no casts. Every runtime computes their
statistics, exponentials and sums in float32, for any input dtype. Casts around a softmax would also prevent the fusion
of attention into one kernel. A transformer's class token is not a vector after the pooling, but a matrix of one token:
its linear layers have as many weights as those of all tokens.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Cast, Convolution, Input, Multiply, ScaleShift, Transpose

WIDE = "float32"


def compute_in_half(network: Network, dtype: str) -> Network:
    """Cast the network's feature maps to ``dtype``, ``float16`` or ``bfloat16``; the output stays float32."""
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
    """List by name the tensors that stay float32 in a half-precision network."""
    wide = {tensor.name for tensor in network if tensor.exact}
    pixels = {network.input.name}
    for tensor in network:
        if pixels.issuperset(tensor.inputs) and isinstance(tensor.operation, Input | Cast | Transpose | ScaleShift):
            pixels.add(tensor.name)
    consumers = network.consumers()
    pooled: set[str] = set()
    for tensor in reversed(network.tensors):
        is_vector = math.prod(tensor.shape) == tensor.shape[0]
        if is_vector and pooled.issuperset(other.name for other in consumers[tensor.name]):
            pooled.add(tensor.name)
    return wide | pixels | pooled


def shrink_products(network: Network) -> Network:
    """Scale down both convolutions where the network takes the mean of their product.

    This is a non-local block's ``phi * g``: its products are the first to exceed the FP16 range. The scale is a power
    of two, about 1 / sqrt(number of pixels). The last convolution after the mean is scaled up again. Both are exact.
    """
    consumers = network.consumers()
    shrunk: dict[str, float] = {}
    rescaled: dict[str, float] = {}
    for tensor in network:
        mean = consumers[tensor.name]
        if not isinstance(tensor.operation, Multiply) or [other.operation.kind for other in mean] != ["reduce_mean"]:
            continue
        product = consumers[mean[0].name]
        last = consumers[product[0].name] if len(product) == 1 else []
        factors = [network[name] for name in tensor.inputs]
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
    """Scale a convolution's output, or its weights to undo the scale of its input."""
    operation = tensor.operation
    if not isinstance(operation, Convolution) or (output is None and inputs is None):
        return tensor
    weight = operation.weight * np.float32((output or 1.0) * (inputs or 1.0))
    bias = None if operation.bias is None else operation.bias * np.float32(output or 1.0)
    return replace(tensor, operation=replace(operation, weight=weight, bias=bias))

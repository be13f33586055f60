"""Half precision, written into the network: casts stand where float32 begins and ends.

What overflows in half, or loses what matters, stays in float32: GeM's powers, the means of a non-local block and of SE,
an instance norm's statistics, and everything after the pooling, which is a vector for each image and costs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from fastrt.network import Network, Tensor, make_tensor
from fastrt.ops import Cast, Clamp, Input, Multiply, Power, ReduceMax, ReduceMean

WIDE = "float32"
ELEMENTWISE = (Clamp, Power, Multiply)
REDUCING = (Power, ReduceMean, ReduceMax)


def compute_in_half(network: Network, dtype: str) -> Network:
    """The same network with its feature maps in ``dtype``, ``float16`` or ``bfloat16``; its output stays float32."""
    wide = _wide(network)
    result: list[Tensor] = []
    cast: dict[tuple[str, str], Tensor] = {}
    made: dict[str, Tensor] = {}
    for tensor in network:
        wanted = WIDE if tensor.name in wide else dtype
        if isinstance(tensor.operation, Cast):
            new = make_tensor(tensor.name, Cast(wanted), [made[name] for name in tensor.inputs])
        else:
            inputs = []
            for name in tensor.inputs:
                value = made[name]
                if value.dtype != wanted and value.dtype != "uint8":
                    key = (name, wanted)
                    if key not in cast:
                        cast[key] = make_tensor(f"{name}.{wanted}", Cast(wanted), [value])
                        result.append(cast[key])
                    value = cast[key]
                inputs.append(value)
            new = make_tensor(tensor.name, tensor.operation, inputs)
        made[tensor.name] = new
        result.append(new)
    return replace(network, tensors=tuple(result))


def _wide(network: Network) -> set[str]:
    """The tensors that stay float32, by name."""
    consumers = network.consumers()
    wide: set[str] = set()
    for tensor in network:
        operation = tensor.operation
        # A product with a vector of each image, such as a mean, is taken in the vector's own precision.
        by_vector = isinstance(operation, Multiply) and any(name in wide for name in tensor.inputs)
        if isinstance(operation, Input | Power | ReduceMean | ReduceMax) or by_vector or _is_vector(tensor.shape):
            wide.add(tensor.name)
    # What only feeds a power or a mean is taken with it: the clamp of GeM, the product of a non-local block.
    for tensor in reversed(network.tensors):
        feeds = consumers[tensor.name]
        if (
            isinstance(tensor.operation, ELEMENTWISE)
            and feeds
            and all(other.name in wide and isinstance(other.operation, REDUCING) for other in feeds)
        ):
            wide.add(tensor.name)
    return wide


def _is_vector(shape: tuple[int, ...]) -> bool:
    return prod(shape) == max(shape)

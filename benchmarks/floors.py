"""What a network takes at least, on a machine of known peaks."""

from __future__ import annotations

import math

from benchmarks.results import Row
from fastrt.ir.network import Network
from fastrt.ir.ops import Convolution, MatMul

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Of a number."""

ARITHMETIC, MEMORY = "floor by arithmetic, ms", "floor by memory, ms"
"""Of an image."""


def count_products(network: Network) -> int:
    """Multiplications with an addition, for one image."""
    total = 0
    for tensor in network:
        operation = tensor.operation
        if isinstance(operation, Convolution):
            inputs = network[tensor.inputs[0]].shape[1:]
            places = zip(inputs, tensor.shape[1:], operation.weight.shape[2:], strict=True)
            taps = (count_taps(*place, operation.stride, operation.padding) for place in places)
            total += math.prod(operation.weight.shape[:2]) * math.prod(taps)
        elif isinstance(operation, MatMul):
            total += math.prod(tensor.shape) * network[tensor.inputs[0]].shape[0 if operation.transpose_a else 1]
    return total


def count_taps(size: int, outputs: int, kernel: int, stride: int, padding: int) -> int:
    """How often a filter meets a pixel along an axis, over all places that it is put to."""
    return sum(0 <= place * stride + tap - padding < size for place in range(outputs) for tap in range(kernel))


def count_numbers(network: Network) -> tuple[int, int]:
    """Weights, and numbers in the feature maps that an image has; each ReLU and norm is done where its input is."""
    weights = sum(tensor.operation.weight.size for tensor in network if isinstance(tensor.operation, Convolution))
    maps = sum(math.prod(tensor.shape) for tensor in network if isinstance(tensor.operation, Convolution))
    return weights, maps


def describe_floors(title: str, network: Network, precision: str, batch: int, peak: float, bandwidth: float) -> Row:
    """A network's floors for a batch, of operations and bytes a second."""
    operations = 2 * count_products(network)
    weights, maps = count_numbers(network)
    return {
        "model": title,
        "precision": precision,
        "batch": batch,
        "GFLOP an image": round(operations / 1e9, 2),
        ARITHMETIC: _milliseconds(operations / peak),
        MEMORY: _milliseconds(BYTES[precision] * (weights / batch + 2 * maps) / bandwidth),
    }


def set_beside(floors: Row, seconds: float) -> Row:
    """A network's floors with what a batch of it took.

    >>> set_beside({"batch": 4, ARITHMETIC: 1.0, MEMORY: 0.5}, 0.008)["of the peak"]
    '50%'
    """
    taken = 1e3 * seconds / floors["batch"]
    about = {name: value for name, value in floors.items() if name not in (ARITHMETIC, MEMORY)}
    bounds = {name: floors[name] for name in (ARITHMETIC, MEMORY)}
    return {**about, "ms an image": _round(taken), **bounds, "of the peak": f"{floors[ARITHMETIC] / taken:.0%}"}


def _milliseconds(seconds: float) -> float:
    return _round(1e3 * seconds)


def _round(value: float) -> float:
    return float(f"{value:.3g}")

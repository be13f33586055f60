"""Activations composed of several operations, and the single ones in the same form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, Clamp, Multiply, Relu, ScaleShift, Sigmoid

Activation = Callable[[Builder, Tensor, str], Tensor]
"""Takes the builder, the tensor and the result's name."""


def relu(b: Builder, x: Tensor, name: str) -> Tensor:
    """``max(x, 0)``."""
    return b.add(name, Relu(), x)


def relu6(b: Builder, x: Tensor, name: str) -> Tensor:
    """``x`` limited to 0 to 6."""
    return b.add(name, Clamp(0.0, 6.0), x)


def sigmoid(b: Builder, x: Tensor, name: str) -> Tensor:
    """``1 / (1 + exp(-x))``."""
    return b.add(name, Sigmoid(), x)


def swish(b: Builder, x: Tensor, name: str) -> Tensor:
    """``x * sigmoid(x)``."""
    return b.add(name, Multiply(), x, sigmoid(b, x, f"{name}.sigmoid"))


def hard_sigmoid(b: Builder, x: Tensor, name: str) -> Tensor:
    """``(x + 3) / 6``, limited to 0 to 1."""
    channels = x.shape[0]
    line = b.add(f"{name}.line", ScaleShift(np.full(channels, 1 / 6), np.full(channels, 0.5)), x)
    return b.add(name, Clamp(0.0, 1.0), line)


def hard_swish(b: Builder, x: Tensor, name: str) -> Tensor:
    """``x * (min(max(x + 3, 0), 6) / 6)``, in the order of operations that OpenVINO fuses into the convolution."""
    ones, zeros = np.ones(x.shape[0]), np.zeros(x.shape[0])
    raised = b.add(f"{name}.raised", ScaleShift(ones, 3 * ones), x)
    gate = b.add(f"{name}.gate", ScaleShift(ones / 6, zeros), relu6(b, raised, f"{name}.limited"))
    return b.add(name, Multiply(), x, gate)


def leaky_relu(b: Builder, x: Tensor, name: str, slope: float) -> Tensor:
    """``x`` where positive, ``slope * x`` elsewhere."""
    sign, zeros = np.full(x.shape[0], -1.0), np.zeros(x.shape[0])
    below = b.add(f"{name}.below", Relu(), b.add(f"{name}.negated", ScaleShift(sign, zeros), x))
    below = b.add(f"{name}.scaled", ScaleShift(slope * sign, zeros), below)
    return b.add(name, Add(), b.add(f"{name}.above", Relu(), x), below)

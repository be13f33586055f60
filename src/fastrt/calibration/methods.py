"""How far a tensor's grid is to reach: pure functions from a histogram of magnitudes to the largest worth keeping.

A grid that reaches to the largest value spends its steps on what hardly occurs; one that does not cuts values off.

Source: pytorch-quantization's calib/histogram.py; Migacz, "8-bit inference with TensorRT", GTC 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from fastrt.arrays import Array

Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[str, ...] = get_args(Method)

STEPS = 128
"""Of the grids that `entropy` and `mse` try, the signed one's."""

KEPT = 99.99
"""Per cent of all values that `percentile` keeps."""


def minmax(counts: Array, width: float) -> float:
    """The largest magnitude: the end of the last bin that has any.

    >>> minmax(np.array([5, 0, 3, 0]), 0.5)
    1.5
    """
    filled = np.flatnonzero(counts)
    return float((filled[-1] + 1) * width) if len(filled) else 0.0


def percentile(counts: Array, width: float, kept: float = KEPT) -> float:
    """The end of the first bin up to which ``kept`` per cent of the values lie.

    >>> percentile(np.array([90, 9, 0, 1]), 0.5, kept=99)
    1.0
    """
    reached = np.cumsum(counts) >= counts.sum() * kept / 100
    return float((np.argmax(reached) + 1) * width)


def entropy(counts: Array, width: float, steps: int = STEPS) -> float:
    """The end that loses the least information: least Kullback-Leibler divergence of the rounded from the true.

    What lies beyond an end is counted into the last bin that has any, and does not come back by rounding. Zeros, of
    which a ReLU makes many and which every grid has, count as their neighbours do.

    >>> entropy(np.array([8, 8, 2, 6, 0, 0, 0, 1]), 0.5, steps=4)
    2.0
    """
    filled = np.flatnonzero(counts)
    if not len(filled) or filled[-1] + 1 <= steps:
        return minmax(counts, width)
    ends = np.arange(steps, filled[-1] + 2)
    counts = counts.astype(np.float64)
    counts[0] = counts[1]
    beyond = counts.sum() - np.cumsum(counts)
    losses = [_divergence(counts[:end], beyond[end - 1], steps) for end in ends]
    return float(ends[int(np.argmin(losses))] * width)


def _divergence(counts: Array, beyond: float, steps: int) -> float:
    """Of ``counts``, rounded to ``steps``, from the same with what lies beyond in the last bin that has any."""
    filled = counts > 0
    true = counts.copy()
    true[np.flatnonzero(filled)[-1]] += beyond
    starts = np.arange(steps) * len(counts) // steps
    mass, bins = np.add.reduceat(counts, starts), np.add.reduceat(filled.astype(np.float64), starts)
    spread = np.divide(mass, bins, out=np.zeros_like(mass), where=bins > 0)
    rounded = np.where(filled, np.repeat(spread, np.diff([*starts, len(counts)])), 0.0)
    true, rounded = true[filled] / true.sum(), rounded[filled] / rounded.sum()
    return float((true * np.log(true / rounded)).sum())


def mse(counts: Array, width: float, steps: int = STEPS) -> float:
    """The end with the least mean squared error of rounding and cutting off together.

    >>> mse(np.array([100, 100, 100, 100, 0, 0, 0, 0]), 0.5, steps=4)
    2.0
    """
    filled = np.flatnonzero(counts)
    if not len(filled) or filled[-1] + 1 <= steps:
        return minmax(counts, width)
    centres, numbers = (filled + 0.5) * width, counts[filled]
    ends = np.arange(steps, filled[-1] + 2) * width
    losses = [_squared_error(centres, numbers, end, steps) for end in ends]
    return float(ends[int(np.argmin(losses))])


def _squared_error(centres: Array, numbers: Array, end: float, steps: int) -> float:
    scale = end / (steps - 1)
    rounded = np.minimum(np.rint(centres / scale), steps - 1) * scale
    return float((numbers * (centres - rounded) ** 2).sum())


def find_method(name: str) -> Callable[[Array, float], float]:
    """The method of that name."""
    methods: dict[str, Callable[[Array, float], float]] = {
        "minmax": minmax,
        "percentile": percentile,
        "entropy": entropy,
        "mse": mse,
    }
    return methods[name]

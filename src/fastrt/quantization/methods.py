"""Calibration methods: pure functions from a histogram of magnitudes to the largest magnitude to represent.

A range up to the maximum wastes quantization steps on rare values; a shorter one clips values.

Source: pytorch-quantization's calib/histogram.py; Migacz, "8-bit inference with TensorRT", GTC 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastrt.arrays import Array
from fastrt.engine.calibration_table import Method

STEPS = 128
"""Steps of the grid in `entropy` and `mse`: those of a signed int8 grid for magnitudes."""

UNCLIPPED = 99.99
"""Percentage of values that `percentile` does not clip: one of those that arXiv 2004.09602 compares."""


def minmax(counts: Array, width: float) -> float:
    """The largest magnitude: the end of the last non-empty bin.

    >>> minmax(np.array([5, 0, 3, 0]), 0.5)
    1.5
    """
    filled = np.flatnonzero(counts)
    return float((filled[-1] + 1) * width) if len(filled) else 0.0


def percentile(counts: Array, width: float, unclipped: float = UNCLIPPED) -> float:
    """The end of the first bin up to which ``unclipped`` percent of the values lie.

    >>> percentile(np.array([90, 9, 0, 1]), 0.5, unclipped=99)
    1.0
    """
    reached = np.cumsum(counts) >= counts.sum() * unclipped / 100
    return float((np.argmax(reached) + 1) * width)


def entropy(counts: Array, width: float, steps: int = STEPS) -> float:
    """The range with the least loss of information: the least Kullback-Leibler divergence of the rounded values.

    Values beyond a range are counted in its last non-empty bin, and rounding does not restore them. The bin of zeros
    gets its neighbour's count: a ReLU makes many zeros, and every grid represents zero.

    >>> entropy(np.array([8, 8, 2, 6, 0, 0, 0, 1]), 0.5, steps=4)
    2.0
    """
    filled = np.flatnonzero(counts)
    if not len(filled) or filled[-1] + 1 <= steps:
        return minmax(counts, width)
    counts = counts.astype(np.float64)
    counts[0] = counts[1]
    first = int(np.argmax(counts > 0))  # a shorter range would lose all values
    ends = np.arange(max(steps, first + 1), filled[-1] + 2)
    return float(ends[int(np.argmin(_divergences(counts, ends, steps)))] * width)


def _divergences(counts: Array, ends: Array, steps: int) -> Array:
    """Compute the Kullback-Leibler divergence for each end of the range.

    ``p`` is the distribution of the counts before the end, with all counts beyond it added to the last non-empty bin.
    ``q`` is that of the counts before the end, rounded to ``steps``: each step's count is spread evenly over its
    non-empty bins. The result is ``sum(p * log(p / q))``, computed from prefix sums that all ends share.
    """
    filled = counts > 0
    mass, bins = _sums(counts), _sums(filled)
    borders = np.arange(steps + 1) * ends[:, None] // steps
    in_step, bins_of_step = np.diff(mass[borders]), np.diff(bins[borders])
    spread = np.divide(in_step, bins_of_step, out=np.zeros_like(in_step), where=bins_of_step > 0)
    inside, total = mass[ends], mass[-1]
    beyond = total - inside
    # The last non-empty bin, and its step, which is the last non-empty one.
    last = np.maximum.accumulate(np.where(filled, np.arange(len(counts)), 0))[ends - 1]
    last_spread = spread[np.arange(len(ends)), steps - 1 - np.argmax(spread[:, ::-1] > 0, axis=1)]
    of_true = _sums(_log_product(counts, counts))[ends]
    of_true += _log_product(counts[last] + beyond, counts[last] + beyond) - _log_product(counts[last], counts[last])
    of_rounded = _log_product(in_step, spread).sum(1) + _log_product(beyond, last_spread)
    divergences: Array = (of_true - of_rounded) / total + np.log(inside / total)
    return divergences


def _sums(values: Array) -> Array:
    """Prefix sums, from 0 values to all."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _log_product(values: Array, logarithms_of: Array) -> Array:
    """``values * log(logarithms_of)``, and 0 where ``logarithms_of`` is 0."""
    return values * np.log(logarithms_of, out=np.zeros_like(logarithms_of), where=logarithms_of > 0)


def mse(counts: Array, width: float, steps: int = STEPS) -> float:
    """The range with the least mean squared error of rounding and clipping together.

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


METHODS: dict[Method, Callable[[Array, float], float]] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}
"""Functions of a histogram's counts and the width of its bins, by name."""

"""A histogram of a tensor's magnitudes, in memory that does not grow with the number of values."""

from __future__ import annotations

import math

import numpy as np

from fastrt.arrays import Array

BINS = 2048
"""Bins of a new histogram. For values beyond its end their number doubles; then bins are merged in pairs."""


class Histogram:
    """Counts magnitudes in bins of equal width.

    Attributes:
        low: minimum; infinity if there is no value yet.
        high: maximum; -infinity if there is no value yet.
        counts: int64 counts of magnitudes; bin ``i`` is from ``i`` to ``i + 1`` widths.
        width: width of a bin; 0 while all values are 0.
    """

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.width = 0.0
        self.counts: Array = np.zeros(BINS, np.int64)

    @property
    def amax(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    def add(self, values: Array) -> None:
        """Count the values of an array.

        >>> histogram = Histogram()
        >>> histogram.add(np.float32([0, 1, 2]))
        >>> histogram.add(np.float32([-4]))
        >>> histogram.low, histogram.high, int(histogram.counts.sum())
        (-4.0, 2.0, 4)
        """
        values = values.reshape(-1)
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach(max(abs(low), abs(high)))
        if not self.width:
            self.counts[0] += values.size
            return
        magnitudes = values if low >= 0 else np.abs(values)
        bins = (magnitudes * np.float32(1 / self.width)).astype(np.intp)
        np.minimum(bins, len(self.counts) - 1, out=bins)
        self.counts += np.bincount(bins, minlength=len(self.counts))

    def _reach(self, amax: float) -> None:
        """Extend the bins up to ``amax``."""
        if not self.width:
            self.width = amax / BINS
        while amax > self.width * len(self.counts):
            if len(self.counts) == 2 * BINS:
                self.counts = self.counts.reshape(-1, 2).sum(1)
                self.width *= 2
            self.counts = np.concatenate([self.counts, np.zeros(BINS, np.int64)])

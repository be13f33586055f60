"""What values a tensor takes, in memory that does not grow with how many there are."""

from __future__ import annotations

import numpy as np

from fastrt.arrays import Array

BINS = 2048
"""Of a new histogram; with values beyond its end it grows to twice as many, and then its bins are merged in pairs."""


class Histogram:
    """Counts magnitudes in bins of one width.

    Attributes:
        low: the least value, 0 if none was seen.
        high: the largest.
        counts: of magnitudes, int64; bin ``i`` is from ``i`` to ``i + 1`` widths.
        width: of a bin; 0 as long as nothing but zeros was seen.
    """

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self.width = 0.0
        self.counts: Array = np.zeros(BINS, np.int64)
        self._empty = True

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
        self.low, self.high = (low, high) if self._empty else (min(self.low, low), max(self.high, high))
        self._empty = False
        self._reach(max(abs(low), abs(high)))
        if not self.width:
            self.counts[0] += values.size
            return
        magnitudes = values if low >= 0 else np.abs(values)
        bins = (magnitudes * np.float32(1 / self.width)).astype(np.intp)
        np.minimum(bins, len(self.counts) - 1, out=bins)
        self.counts += np.bincount(bins, minlength=len(self.counts))

    def _reach(self, amax: float) -> None:
        """Make the bins reach as far as ``amax``."""
        if amax == 0:
            return
        if not self.width:
            self.width = amax / BINS
        while amax > self.width * len(self.counts):
            if len(self.counts) < 2 * BINS:
                self.counts = np.concatenate([self.counts, np.zeros(BINS, np.int64)])
            else:
                self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS, np.int64)])
                self.width *= 2

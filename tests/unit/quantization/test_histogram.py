from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrt.quantization.histogram import BINS, Histogram


@given(seed=st.integers(0, 2**32 - 1), scales=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6))
def test_nothing_is_lost_however_values_grow(seed: int, scales: list[float]) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(0, scale, 100).astype(np.float32) for scale in scales]
    histogram = Histogram()
    for array in arrays:
        histogram.add(array)
    values = np.concatenate(arrays)
    assert histogram.counts.sum() == values.size
    assert (histogram.low, histogram.high) == (values.min(), values.max())
    assert len(histogram.counts) <= 2 * BINS
    assert histogram.width * len(histogram.counts) >= histogram.amax * (1 - 1e-6)
    ends = np.quantile(np.abs(values), 0.5)
    below = histogram.counts[: int(ends / histogram.width)].sum()
    inside = (np.abs(values) < ends).sum()
    assert abs(int(below) - int(inside)) <= histogram.counts.max() + 1


def test_zeros_alone_have_no_width() -> None:
    histogram = Histogram()
    histogram.add(np.zeros((2, 3), np.float32))
    assert (histogram.width, histogram.amax, histogram.counts[0]) == (0, 0, 6)
    histogram.add(np.array([1, 0], np.float32))
    assert (histogram.amax, histogram.counts.sum()) == (1, 8)


def test_the_first_values_decide_nothing() -> None:
    histogram = Histogram()
    histogram.add(np.array([2, 3], np.float32))
    assert histogram.low == 2
    histogram.add(np.array([-1], np.float32))
    assert (histogram.low, histogram.high) == (-1, 3)

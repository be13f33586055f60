from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrt.errors import EvaluationError
from fastrt.evaluation.threshold import find_threshold, wilson_interval
from unit.evaluation.test_pairs import pair_up


@given(seed=st.integers(0, 2**32 - 1), rate=st.floats(0.01, 0.5), steps=st.sampled_from([5, 40, 10**6]))
def test_the_threshold_is_the_lowest_within_the_rate(seed: int, rate: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = pair_up(*(rng.integers(0, steps, count) / steps for count in (40, 300)))
    threshold = find_threshold(pairs, rate)
    same, different = 1 - pairs.same, 1 - pairs.nearest_different(300)
    taken = (different >= threshold.similarity).mean()
    assert taken == pytest.approx(threshold.false_matches)
    assert taken <= rate + 1e-9
    below = different[different < threshold.similarity]
    assert (different >= below.max() - 2e-6).mean() > rate  # any lower threshold accepts too many
    assert threshold.found == (same >= threshold.similarity).mean()
    assert threshold.interval[0] <= threshold.false_matches <= threshold.interval[1]


def test_too_few_pairs_for_a_small_fraction_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="expected at least 1 and 1000"):
        find_threshold(pair_up(np.zeros(3), np.ones(50)), 1e-3)
    with pytest.raises(EvaluationError, match="above 0 and below 1"):
        find_threshold(pair_up(np.zeros(3), np.ones(50)), 0.0)


def test_the_interval_covers_the_fraction_in_95_percent() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for count in rng.binomial(400, 0.03, 2000):
        low, high = wilson_interval(int(count), 400)
        covered += low <= 0.03 <= high
    assert 0.93 < covered / 2000 < 0.97

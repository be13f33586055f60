from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.roc import RATES, true_positive_rates, verification_curve
from unit.evaluation.test_pairs import pair_up

FOLDER = Path(__file__).parents[2] / "golden" / "evaluation"
WANTED = json.loads((FOLDER / "case.json").read_text())
with np.load(FOLDER / "case.npz") as _file:
    CASE: dict[str, Array] = dict(_file)
WHO = tuple(CASE[name] for name in ("query_pids", "gallery_pids", "query_camids", "gallery_camids"))


def test_rates_equal_fastreids() -> None:
    got = true_positive_rates(Pairs(lambda: [(0, CASE["dist_cosine"])], *WHO))
    assert got == pytest.approx([WANTED["roc"][key] for key in ("0.0001", "0.001", "0.01")], abs=1e-6)


def _brute(same: Array, different: Array) -> tuple[Array, Array]:
    """scikit-learn's roc_curve, which drops points on straight lines."""
    scores = np.concatenate([same, different])
    labels = np.concatenate([np.zeros(len(same)), np.ones(len(different))])
    bounds = np.unique(scores)[::-1]
    tps = np.array([0, *[(labels[scores >= bound] == 1).sum() for bound in bounds]])
    fps = np.array([0, *[(labels[scores >= bound] == 0).sum() for bound in bounds]])
    corners = np.ones(len(fps), bool)
    # Dropped before the point (0, 0) is prepended.
    corners[2:-1] = (np.diff(fps[1:], 2) != 0) | (np.diff(tps[1:], 2) != 0)
    return fps[corners] / len(same), tps[corners] / len(different)


@example(seed=1429, sizes=(2, 5), steps=11)  # the largest distances are ties of both kinds, and a line begins there
@given(
    seed=st.integers(0, 2**32 - 1), sizes=st.tuples(st.integers(1, 30), st.integers(1, 30)), steps=st.integers(1, 60)
)
def test_rates_equal_those_of_the_whole_curve(seed: int, sizes: tuple[int, int], steps: int) -> None:
    rng = np.random.default_rng(seed)
    same, different = (np.sort(rng.integers(0, steps, size) + shift) for size, shift in zip(sizes, (0, 3), strict=True))
    false_positive, true_positive = _brute(same, different)
    rates = [*RATES, 0.05, 0.2, 0.5, 1.0]
    want = [true_positive[np.argmin(np.abs(false_positive - rate))] for rate in rates]
    assert true_positive_rates(pair_up(same, different), rates) == pytest.approx(want)


def test_no_pairs_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="0 pairs of one identity and 0 of two"):
        true_positive_rates(Pairs(lambda: [(0, np.ones((1, 2)))], np.ones(1), np.ones(2), np.zeros(1), np.zeros(2)))


def test_the_usual_verification_curve() -> None:
    rng = np.random.default_rng(0)
    same, different = rng.normal(0.3, 0.1, 500), rng.normal(0.8, 0.2, 4000)
    false, found = verification_curve(pair_up(same, different), points=50)
    assert len(false) == 51
    assert (false[-1], found[-1]) == (1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(found) >= 0).all()
    bound = np.sort(same)[249]
    at = np.argmin(np.abs(found - 0.5))
    assert false[at] == pytest.approx((different <= bound).mean(), abs=2e-3)

"""How well a bound on the distance tells same from different, as FastReID counts it.

Unlike elsewhere, a *different* pair is what is to be detected: the false positive rate is the part of same pairs that a
bound takes for different, the true positive rate the part of different pairs that it finds.

Source: fastreid/evaluation/roc.py, on scikit-learn's roc_curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError

RATES = (1e-4, 1e-3, 1e-2)


def split_pairs(
    blocks: Iterable[tuple[int, Array]],
    query_pids: Array,
    gallery_pids: Array,
    query_camids: Array,
    gallery_camids: Array,
) -> tuple[Array, Array]:
    """The distances of all pairs of same and of different identity, without junk, each ascending.

    Arguments are those of `fastrt.evaluate.ranking.rank`.
    """
    same, different = [], []
    for start, distances in blocks:
        rows = slice(start, start + len(distances))
        alike = query_pids[rows, None] == gallery_pids
        junk = alike & (query_camids[rows, None] == gallery_camids)
        found = (alike & ~junk).any(1)  # queries without a true match count for nothing
        same.append(distances[alike & ~junk])
        different.append(distances[found][~alike[found]])
    return np.sort(np.concatenate(same)), np.sort(np.concatenate(different))


def true_positive_rates(same: Array, different: Array, rates: Sequence[float] = RATES) -> list[float]:
    """The true positive rate at the point of the curve whose false positive rate is nearest to each of some.

    Args:
        same: distances of pairs of one identity, ascending.
        different: of pairs of two.
        rates: false positive rates.

    Raises:
        EvaluationError: no pair of one identity, or of two.

    >>> true_positive_rates(np.array([0.1, 0.2, 0.6]), np.array([0.5, 0.7, 0.8, 0.9]), [0.0, 0.3])
    [0.0, 0.75]
    """
    if not len(same) or not len(different):
        raise EvaluationError(f"{len(same)} pairs of one identity and {len(different)} of two; some of both are wanted")
    false_positive, true_positive = _curve(same, different)
    return [float(true_positive[np.argmin(np.abs(false_positive - rate))]) for rate in rates]


def _curve(same: Array, different: Array) -> tuple[Array, Array]:
    """The curve at each bound that a same pair has, from the largest; points on a straight line are left out.

    Of points at one false positive rate only the first is ever asked for, so those at bounds of different pairs between
    are not needed.
    """
    bounds, counts = np.unique(same, return_counts=True)
    bounds, counts = bounds[::-1], counts[::-1]
    at_least = len(different) - np.searchsorted(different, bounds, "left")
    above = len(different) - np.searchsorted(different, bounds, "right")
    tied = at_least - above
    # A point is on a line if the step before it and the step after it are the same.
    next_is_same = np.append(above[1:] == at_least[:-1], False)
    following = np.append(counts[1:], 0), np.append(tied[1:], 0)
    on_line = next_is_same & (counts == following[0]) & (tied == following[1])
    false_positive = np.concatenate([[0], np.cumsum(counts)]) / len(same)
    true_positive = np.concatenate([[0], at_least]) / len(different)
    keep = np.concatenate([[True], ~on_line])
    keep[-1] = True
    return false_positive[keep], true_positive[keep]

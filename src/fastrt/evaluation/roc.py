"""Receiver operating characteristic of a distance threshold, as FastReID computes it.

In FastReID a *different* pair is the positive class. The false positive rate is the fraction of same pairs above the
threshold. The true positive rate is the fraction of different pairs above it.

Source: fastreid/evaluation/roc.py, on scikit-learn's roc_curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.evaluation.arguments import check_numbers, check_whole
from fastrt.evaluation.pairs import Pairs

RATES = (1e-4, 1e-3, 1e-2)


def true_positive_rates(pairs: Pairs, rates: Sequence[float] = RATES) -> list[float]:
    """Return the true positive rates at the points of the curve nearest to given false positive rates.

    Args:
        pairs: pairs of a data set.
        rates: false positive rates, 0 to 1.

    Raises:
        EvaluationError: there is no pair of one identity, or none of two identities.

    >>> distances = np.array([[0.1, 0.2, 0.6, 0.5, 0.7, 0.8, 0.9]])  # three of the query's person, and four of another
    >>> who = np.array([7]), np.array([7, 7, 7, 8, 8, 8, 8]), np.array([0]), np.ones(7, int)
    >>> true_positive_rates(Pairs(lambda: [(0, distances)], *who), [0.0, 0.3])
    [0.0, 0.75]
    """
    wanted = check_numbers("roc: rates", rates, 1)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise EvaluationError(f"roc: rates {list(rates)}; expected fractions from 0 to 1. Correct them.")
    check_curve(len(pairs.same), pairs.different)
    false_positive, true_positive = _curve(pairs)
    return [float(true_positive[np.argmin(np.abs(false_positive - rate))]) for rate in wanted]


def verification_curve(pairs: Pairs, points: int = 300) -> tuple[Array, Array]:
    """Compute the usual verification curve, in which a *same* pair is the positive class.

    Args:
        pairs: pairs of a data set.
        points: maximum number of thresholds.

    Returns:
        Fractions of pairs of two identities and of pairs of one identity within each threshold, ascending. Raises as
        `true_positive_rates` does.
    """
    points = check_whole("roc: points", points, 1)
    check_curve(len(pairs.same), pairs.different)
    bounds = np.unique(np.quantile(pairs.same, np.linspace(0, 1, points), method="nearest"))
    _, not_farther = pairs.count_different(bounds)
    found = np.searchsorted(pairs.same, bounds, "right")
    return np.append(not_farther / pairs.different, 1.0), np.append(found / len(pairs.same), 1.0)


def check_curve(same: int, different: int) -> None:
    """Raise `EvaluationError` unless there are pairs of one identity, and pairs of two."""
    if not same or not different:
        raise EvaluationError(
            f"roc: {same} pairs of one identity and {different} of two; expected some of both. Check the data set."
        )


def _curve(pairs: Pairs) -> tuple[Array, Array]:
    """Compute the curve at the distance of each same pair, descending, without points on a straight line.

    Points at the distances of different pairs are not needed: they repeat a false positive rate, and only the first
    point of each rate is used.
    """
    bounds, counts = np.unique(pairs.same, return_counts=True)
    bounds, counts = bounds[::-1], counts[::-1]
    at_least, above = (pairs.different - nearer for nearer in pairs.count_different(bounds))
    tied = at_least - above
    # A point is on a line if the steps before and after it are equal. The first point has no step before it.
    next_is_same = np.append(above[1:] == at_least[:-1], False)
    following = np.append(counts[1:], 0), np.append(tied[1:], 0)
    on_line = next_is_same & (counts == following[0]) & (tied == following[1])
    on_line[0] &= above[0] > 0
    false_positive = np.concatenate([[0], np.cumsum(counts)]) / len(pairs.same)
    true_positive = np.concatenate([[0], at_least]) / pairs.different
    keep = np.concatenate([[True], ~on_line])
    keep[-1] = True
    return false_positive[keep], true_positive[keep]

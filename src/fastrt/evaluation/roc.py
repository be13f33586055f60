"""How well a bound on the distance tells same from different, as FastReID counts it.

Unlike elsewhere, a *different* pair is what is to be detected: the false positive rate is the part of same pairs that a
bound takes for different, the true positive rate the part of different pairs that it finds.

Source: fastreid/evaluation/roc.py, on scikit-learn's roc_curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.evaluation.pairs import Pairs

RATES = (1e-4, 1e-3, 1e-2)


def true_positive_rates(pairs: Pairs, rates: Sequence[float] = RATES) -> list[float]:
    """The true positive rate at the point of the curve whose false positive rate is nearest to each of some.

    Args:
        pairs: of a data set.
        rates: false positive rates.

    Raises:
        EvaluationError: no pair of one identity, or of two.

    >>> distances = np.array([[0.1, 0.2, 0.6, 0.5, 0.7, 0.8, 0.9]])  # three of the query's person, and four of another
    >>> who = np.array([7]), np.array([7, 7, 7, 8, 8, 8, 8]), np.array([0]), np.ones(7, int)
    >>> true_positive_rates(Pairs(lambda: [(0, distances)], *who), [0.0, 0.3])
    [0.0, 0.75]
    """
    check_pairs(pairs)
    false_positive, true_positive = _curve(pairs)
    return [float(true_positive[np.argmin(np.abs(false_positive - rate))]) for rate in rates]


def verification_curve(pairs: Pairs, points: int = 300) -> tuple[Array, Array]:
    """The curve as others draw it, where same is what is to be detected.

    Args:
        pairs: of a data set.
        points: at how many distances at most.

    Returns:
        Which part of pairs of two identities is not farther than each distance, and of pairs of one; ascending.
    """
    bounds = np.unique(np.quantile(pairs.same, np.linspace(0, 1, points), method="nearest"))
    _, not_farther = pairs.count_different(bounds)
    found = np.searchsorted(pairs.same, bounds, "right")
    return np.append(not_farther / pairs.different, 1.0), np.append(found / len(pairs.same), 1.0)


def check_pairs(pairs: Pairs) -> None:
    """Raise `EvaluationError` unless there are pairs of one identity and of two."""
    if not len(pairs.same) or not pairs.different:
        raise EvaluationError(
            f"{len(pairs.same)} pairs of one identity and {pairs.different} of two; some of both are wanted"
        )


def _curve(pairs: Pairs) -> tuple[Array, Array]:
    """The curve at each bound that a same pair has, from the largest; points on a straight line are left out.

    Of points at one false positive rate only the first is ever asked for, so those at bounds of different pairs between
    are not needed.
    """
    bounds, counts = np.unique(pairs.same, return_counts=True)
    bounds, counts = bounds[::-1], counts[::-1]
    at_least, above = (pairs.different - nearer for nearer in pairs.count_different(bounds))
    tied = at_least - above
    # A point is on a line if the step before it and the step after it are the same. The first of all has none before.
    next_is_same = np.append(above[1:] == at_least[:-1], False)
    following = np.append(counts[1:], 0), np.append(tied[1:], 0)
    on_line = next_is_same & (counts == following[0]) & (tied == following[1])
    on_line[0] &= above[0] > 0
    false_positive = np.concatenate([[0], np.cumsum(counts)]) / len(pairs.same)
    true_positive = np.concatenate([[0], at_least]) / pairs.different
    keep = np.concatenate([[True], ~on_line])
    keep[-1] = True
    return false_positive[keep], true_positive[keep]

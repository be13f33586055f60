"""Similarity of two sets of embeddings of the same images.

A raw cosine hides errors, because all embeddings of a network point in similar directions. The mean-centred cosine
removes the common part, and the agreement functions compare neighbours, which is how embeddings are used.
"""

from __future__ import annotations

import numpy as np

from fastrt.arrays import Array

DECIMALS = 6
"""Similarities that are equal to this many decimals are tied: engines differ by more between batch sizes."""


def centred_cosines(got: Array, want: Array, centre: Array | None = None) -> Array:
    """Compute the mean-centred cosine of each row of ``got`` with the same row of ``want``: ``(n,)``.

    ``centre`` is subtracted from both. By default it is the mean of ``want``.

    >>> want = np.array([[10.0, 1.0], [10.0, -1.0]])
    >>> got = np.array([[10.0, 0.1], [10.0, 0.3]])  # raw cosines 0.996 and 0.991
    >>> centred_cosines(got, want).tolist()
    [1.0, -1.0]
    """
    centre = want.mean(0) if centre is None else centre
    return np.asarray((normalize_rows(got - centre) * normalize_rows(want - centre)).sum(1))


def nearest_agreement(got: Array, want: Array) -> float:
    """Compute the fraction of images with the same nearest other image, by cosine.

    >>> rows = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> nearest_agreement(rows, rows)
    1.0
    """
    return float((_similarities(got).argmax(1) == _similarities(want).argmax(1)).mean())


def rank_agreement(got: Array, want: Array) -> float:
    """Compute Kendall's tau between the two rankings of the other images by cosine, averaged over the images.

    1: all pairs are in the same order, 0: half of them, -1: none.

    >>> want = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> rank_agreement(want, want)
    1.0
    """
    a, b = _similarities(got), _similarities(want)
    upper = np.triu_indices(len(a) - 1, 1)
    taus = []
    for i in range(len(a)):
        x, y = (np.delete(row, i) for row in (a[i], b[i]))
        agree = np.sign(x[:, None] - x)[upper] * np.sign(y[:, None] - y)[upper]
        taus.append(agree.mean())
    return float(np.mean(taus))


def _similarities(rows: Array) -> Array:
    """Cosines of all rows with each other, ``(n, n)``; the diagonal is -infinity."""
    unit = normalize_rows(rows)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.asarray(cosines)


def normalize_rows(rows: Array) -> Array:
    """Scale rows to unit length, also if their squares are too small for the dtype; rows of zeros stay.

    >>> normalize_rows(np.array([[3.0, 4.0], [3e-200, 4e-200], [0.0, 0.0]])).round(9).tolist()
    [[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]
    """
    _, exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True, initial=0))
    rows = np.ldexp(rows, -exponents)  # exact, as it multiplies by powers of two
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))

"""Distances between embeddings, computed in blocks of queries to bound memory. Smaller is nearer.

All functions raise `EvaluationError`, which names the rows, if embeddings are not finite real numbers. Distances are
finite then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from fastrt.arrays import Array
from fastrt.evaluation.arguments import check_choice
from fastrt.evaluation.finite import Blocks, check_embeddings
from fastrt.similarity import normalize_rows

Metric = Literal["cosine", "euclidean"]

BLOCK_BYTES = 64 << 20
"""Memory limit in bytes for a block of distances."""


def cosine_distances(queries: Array, gallery: Array) -> Array:
    """Compute ``1 - cosine`` of each query with each gallery row: ``(q, D)`` and ``(g, D)`` to ``(q, g)``.

    >>> cosine_distances(np.array([[2.0, 0.0]]), np.array([[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).tolist()
    [[0.0, 1.0, 2.0]]
    """
    queries, gallery = check_embeddings(queries, gallery)
    return _unit_distances(normalize_rows(queries), normalize_rows(gallery))


def _unit_distances(queries: Array, gallery: Array) -> Array:
    return np.asarray(1 - queries @ gallery.T)


def euclidean_distances(queries: Array, gallery: Array) -> Array:
    """Compute squared euclidean distances, as FastReID does: ``(q, D)`` and ``(g, D)`` to ``(q, g)``.

    >>> euclidean_distances(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0], [4.0, 5.0]])).tolist()
    [[0.0, 25.0]]
    """
    return _squared_distances(*check_embeddings(queries, gallery))


def _squared_distances(queries: Array, gallery: Array) -> Array:
    squares = np.square(queries).sum(1)[:, None] + np.square(gallery).sum(1)
    return np.asarray(squares - 2 * (queries @ gallery.T))


METRICS: dict[Metric, Callable[[Array, Array], Array]] = {
    "cosine": cosine_distances,
    "euclidean": euclidean_distances,
}
"""The distance function of each metric."""


def distance_blocks(queries: Array, gallery: Array, metric: Metric = "cosine") -> Blocks:
    """Compute distances in blocks: the index of the first query, and ``(rows, g)``."""
    check_choice("distances: metric", metric, tuple(METRICS))
    queries, gallery = check_embeddings(queries, gallery)
    if metric == "cosine":  # normalised once, not in every block
        queries, gallery = normalize_rows(queries), normalize_rows(gallery)
    measure = _unit_distances if metric == "cosine" else _squared_distances
    rows = max(1, BLOCK_BYTES // (queries.dtype.itemsize * max(len(gallery), 1)))
    return ((start, measure(queries[start : start + rows], gallery)) for start in range(0, len(queries), rows))

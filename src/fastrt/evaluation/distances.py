"""Distances between embeddings, computed in blocks of queries to bound memory. Smaller is nearer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from fastrt.arrays import Array
from fastrt.similarity import normalize_rows

Metric = Literal["cosine", "euclidean"]

BLOCK_BYTES = 64 << 20
"""Memory limit in bytes for a block of distances."""


def cosine_distances(queries: Array, gallery: Array) -> Array:
    """Compute ``1 - cosine`` of each query with each gallery row: ``(q, D)`` and ``(g, D)`` to ``(q, g)``.

    >>> cosine_distances(np.array([[2.0, 0.0]]), np.array([[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).tolist()
    [[0.0, 1.0, 2.0]]
    """
    return _unit_distances(normalize_rows(queries), normalize_rows(gallery))


def _unit_distances(queries: Array, gallery: Array) -> Array:
    return np.asarray(1 - queries @ gallery.T)


def euclidean_distances(queries: Array, gallery: Array) -> Array:
    """Compute squared euclidean distances, as FastReID does: ``(q, D)`` and ``(g, D)`` to ``(q, g)``.

    >>> euclidean_distances(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0], [4.0, 5.0]])).tolist()
    [[0.0, 25.0]]
    """
    squares = np.square(queries).sum(1)[:, None] + np.square(gallery).sum(1)
    return np.asarray(squares - 2 * (queries @ gallery.T))


METRICS: dict[Metric, Callable[[Array, Array], Array]] = {
    "cosine": cosine_distances,
    "euclidean": euclidean_distances,
}
"""The distance function of each metric."""


def distance_blocks(queries: Array, gallery: Array, metric: Metric = "cosine") -> Iterator[tuple[int, Array]]:
    """Yield distances in blocks: the index of the first query, and ``(rows, g)``."""
    measure = METRICS[metric]
    if metric == "cosine":  # normalised once, not in every block
        queries, gallery, measure = normalize_rows(queries), normalize_rows(gallery), _unit_distances
    rows = max(1, BLOCK_BYTES // (queries.dtype.itemsize * max(len(gallery), 1)))
    for start in range(0, len(queries), rows):
        yield start, measure(queries[start : start + rows], gallery)

"""Distances between embeddings, smaller is nearer, in blocks of queries so that memory stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np

from fastrt.arrays import Array
from fastrt.similarity import normalize_rows

Metric = Literal["cosine", "euclidean"]
METRICS: tuple[str, ...] = get_args(Metric)

BLOCK_BYTES = 64 << 20
"""Of distances that are held at once."""


def cosine_distances(queries: Array, gallery: Array) -> Array:
    """``1 - cosine`` of each query with each gallery row: ``(q, D)`` and ``(g, D)`` to ``(q, g)``; any lengths.

    >>> cosine_distances(np.array([[2.0, 0.0]]), np.array([[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).tolist()
    [[0.0, 1.0, 2.0]]
    """
    return np.asarray(1 - normalize_rows(queries) @ normalize_rows(gallery).T)


def euclidean_distances(queries: Array, gallery: Array) -> Array:
    """The squared euclidean distance, as FastReID has it: ``(q, D)`` and ``(g, D)`` to ``(q, g)``.

    >>> euclidean_distances(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0], [4.0, 5.0]])).tolist()
    [[0.0, 25.0]]
    """
    squares = np.square(queries).sum(1)[:, None] + np.square(gallery).sum(1)
    return np.asarray(squares - 2 * (queries @ gallery.T))


def find_metric(name: str) -> Callable[[Array, Array], Array]:
    """The distance of that name."""
    return {"cosine": cosine_distances, "euclidean": euclidean_distances}[name]


def distance_blocks(queries: Array, gallery: Array, metric: Metric = "cosine") -> Iterator[tuple[int, Array]]:
    """The distances in blocks of rows: where each begins, and ``(rows, g)``."""
    measure = find_metric(metric)
    if metric == "cosine":  # once, and not block by block
        queries, gallery = normalize_rows(queries), normalize_rows(gallery)

        def measure(rows: Array, columns: Array) -> Array:
            return np.asarray(1 - rows @ columns.T)

    rows = max(1, BLOCK_BYTES // (queries.dtype.itemsize * max(len(gallery), 1)))
    for start in range(0, len(queries), rows):
        yield start, measure(queries[start : start + rows], gallery)

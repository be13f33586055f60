"""Re-ranking with k-reciprocal neighbours, in two variants that give different numbers.

Both compare the sets of reciprocal neighbours of two images. ``fastreid`` is the variant of FastReID's evaluation,
``zhong`` that of the paper's code. FastReID contains the second too, but does not call it.

Source: fastreid/evaluation/rerank.py and fastreid/utils/compute_dist.py; Zhong et al., "Re-ranking person
re-identification with k-reciprocal encoding", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fastrt.arrays import Array
from fastrt.evaluation.arguments import check_choice, check_real, check_whole
from fastrt.evaluation.distances import METRICS, Metric, euclidean_distances
from fastrt.evaluation.finite import check_embeddings, check_some
from fastrt.evaluation.neighbours import find_nearest
from fastrt.similarity import normalize_rows

Reranking = Literal["fastreid", "zhong"]
RERANKINGS: tuple[str, ...] = get_args(Reranking)


def rerank(
    queries: Array,
    gallery: Array,
    method: Reranking = "fastreid",
    metric: Metric = "cosine",
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Array:
    """Compute the re-ranked distances of queries and gallery.

    Args:
        queries: ``(q, D)``.
        gallery: ``(g, D)``.
        method: ``fastreid`` or ``zhong``.
        metric: of the original distances.
        k1: number of neighbours, at least 1.
        k2: number of neighbours for local query expansion; 1 for none.
        weight: of the original distance, 0 to 1; the Jaccard distance has the rest.

    Returns:
        ``(q, g)``, smaller is nearer.

    Raises:
        EvaluationError: an embedding is not finite; the rows are named. Or there is no query, no gallery image, or no
            such method.
    """
    check_choice("rerank: method", method, RERANKINGS)
    check_choice("rerank: metric", metric, tuple(METRICS))
    k1, k2 = check_whole("rerank: k1", k1, 1), check_whole("rerank: k2", k2, 1)
    weight = check_real("rerank: weight", weight, 0, 1)
    queries, gallery = check_embeddings(queries, gallery)
    check_some(queries, gallery)
    rows = np.concatenate([queries, gallery])
    near = _fastreid(rows, metric, k1) if method == "fastreid" else _zhong(rows, metric, k1)
    encoded = _encode(near, k1)
    if k2 > 1:
        encoded = _average(encoded, near.places[:, :k2])
    jaccard = _jaccard(encoded, len(queries))
    plain = METRICS[metric](queries, gallery)
    if method == "zhong":
        plain = np.square(plain) / near.largest[: len(queries), None]
    return np.asarray(jaccard * (1 - weight) + plain * weight)


@dataclass(frozen=True, eq=False)
class _Near:
    """Nearest neighbours of all rows.

    Attributes:
        places: indices of the nearest rows of each row, itself included.
        scale: returns the scaled distances of a row to some other rows; their weights are exp(-distance).
        largest: squared distance of each row to the farthest row; zhong only.
    """

    places: Array
    scale: Callable[[int, Array], Array]
    largest: Array


def _fastreid(rows: Array, metric: Metric, k1: int) -> _Near:
    if metric == "cosine":
        rows = normalize_rows(rows)
    places, _ = find_nearest(rows, "euclidean", k1)

    def scale(i: int, others: Array) -> Array:
        distances = euclidean_distances(rows[i : i + 1], rows[others])[0]
        return np.asarray(distances - distances.min(initial=np.inf))

    return _Near(places, scale, np.empty(0))


def _zhong(rows: Array, metric: Metric, k1: int) -> _Near:
    largest = np.empty(len(rows))

    def look(start: int, block: Array) -> None:
        largest[start : start + len(block)] = np.square(block).max(1)

    places, _ = find_nearest(rows, metric, k1 + 1, look)
    largest[largest == 0] = 1  # all rows are equal, and all distances 0

    def scale(i: int, others: Array) -> Array:
        return np.asarray(np.square(METRICS[metric](rows[i : i + 1], rows[others])[0]) / largest[i])

    return _Near(places, scale, largest)


Sparse = list[tuple[Array, Array]]
"""A sparse matrix: columns and values of each row."""


def _encode(near: _Near, k1: int) -> Sparse:
    """Compute the k-reciprocal feature of each row: weights of its expanded reciprocal neighbours.

    A row without reciprocal neighbours has no feature, as in FastReID: an image that is repeated more than k1 times.
    """
    wide = _reciprocal(near.places)
    narrow = [set(map(int, row)) for row in _reciprocal(near.places[:, : int(np.around(k1 / 2)) + 1])]
    encoded: Sparse = []
    for i, neighbours in enumerate(wide):
        own = set(map(int, neighbours))
        members = set(own)
        for neighbour in own:
            others = narrow[neighbour]
            if len(others & own) > 2 / 3 * len(others):
                members |= others
        columns = np.array(sorted(members), np.intp)
        weights = np.exp(-near.scale(i, columns))
        encoded.append((columns, weights / weights.sum()))
    return encoded


def _reciprocal(places: Array) -> list[Array]:
    """Select the reciprocal neighbours: those that have the row among their own neighbours."""
    mutual = (places[places] == np.arange(len(places))[:, None, None]).any(2)
    return [row[keep] for row, keep in zip(places, mutual, strict=True)]


def _average(encoded: Sparse, places: Array) -> Sparse:
    """Average the feature of each row with those of its nearest neighbours."""
    averaged: Sparse = []
    for row in places:
        columns, inverse = np.unique(np.concatenate([encoded[j][0] for j in row]), return_inverse=True)
        values = np.concatenate([encoded[j][1] for j in row])
        averaged.append((columns, np.bincount(inverse, values) / len(row)))
    return averaged


def _jaccard(encoded: Sparse, queries: int) -> Array:
    """Compute the Jaccard distances of the features of queries and gallery: ``(q, g)``."""
    gallery = encoded[queries:]
    columns = np.concatenate([row for row, _ in gallery])
    owners = np.repeat(np.arange(len(gallery)), [len(row) for row, _ in gallery])
    values = np.concatenate([row for _, row in gallery])
    order = np.argsort(columns, kind="stable")
    columns, owners, values = columns[order], owners[order], values[order]
    starts = np.searchsorted(columns, np.arange(len(encoded) + 1))
    distances = np.empty((queries, len(gallery)))
    for i, (members, weights) in enumerate(encoded[:queries]):
        common = np.zeros(len(gallery))
        for member, weight in zip(members, weights, strict=True):
            part = slice(starts[member], starts[member + 1])
            common[owners[part]] += np.minimum(values[part], weight)
        distances[i] = 1 - common / (2 - common)
    return np.maximum(distances, 0)

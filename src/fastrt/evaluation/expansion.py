"""Query expansion: replaces each embedding by a weighted mean of its nearest neighbours."""

from __future__ import annotations

import numpy as np

from fastrt.arrays import Array
from fastrt.evaluation.finite import check_embeddings
from fastrt.evaluation.neighbours import find_nearest
from fastrt.similarity import normalize_rows


def expand_queries(
    queries: Array, gallery: Array, *, times: int = 1, neighbours: int = 5, alpha: float = 3.0
) -> tuple[Array, Array]:
    """Apply alpha query expansion to queries and gallery together, as FastReID does.

    Args:
        queries: ``(q, D)``, of any vector length.
        gallery: ``(g, D)``.
        times: number of repetitions.
        neighbours: number of nearest neighbours, including the row itself.
        alpha: exponent of the cosine in the weights.

    Returns:
        The new queries and the new gallery.

    Raises:
        EvaluationError: an embedding is not finite; the rows are named.

    Source: fastreid/evaluation/query_expansion.py.
    """
    rows = np.concatenate(check_embeddings(queries, gallery))
    for _ in range(times):
        places, distances = find_nearest(normalize_rows(rows), "cosine", neighbours)
        weights = (1 - distances) ** alpha
        rows = (rows[places] * weights[..., None]).mean(1)
    return rows[: len(queries)], rows[len(queries) :]

"""Query expansion: replaces each embedding by a weighted mean of its nearest neighbours."""

from __future__ import annotations

import numpy as np

from fastrt.arrays import Array
from fastrt.evaluation.arguments import check_real, check_whole
from fastrt.evaluation.finite import check_embeddings, check_some
from fastrt.evaluation.neighbours import find_nearest
from fastrt.similarity import normalize_rows


def expand_queries(
    queries: Array, gallery: Array, *, times: int = 1, neighbours: int = 5, alpha: float = 3.0
) -> tuple[Array, Array]:
    """Apply alpha query expansion to queries and gallery together, as FastReID does.

    Args:
        queries: ``(q, D)``, of any vector length.
        gallery: ``(g, D)``.
        times: number of repetitions, at least 1.
        neighbours: number of nearest neighbours, including the row itself, at least 1.
        alpha: exponent of the cosine in the weights, at least 0; whole if cosines may be negative.

    Returns:
        The new queries and the new gallery.

    Raises:
        EvaluationError: an embedding is not finite, before or after; the rows are named. Or there is no query, or no
            gallery image.

    Source: fastreid/evaluation/query_expansion.py.
    """
    times, neighbours = (
        check_whole(f"expand_queries: {name}", value, 1)
        for name, value in (("times", times), ("neighbours", neighbours))
    )
    alpha = check_real("expand_queries: alpha", alpha, 0)
    queries, gallery = check_embeddings(queries, gallery)
    check_some(queries, gallery)
    rows = np.concatenate([queries, gallery])
    for _ in range(times):
        places, distances = find_nearest(normalize_rows(rows), "cosine", neighbours)
        weights = (1 - distances) ** alpha
        rows = (rows[places] * weights[..., None]).mean(1)
    return check_embeddings(rows[: len(queries)], rows[len(queries) :])

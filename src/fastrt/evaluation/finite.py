"""Checks embeddings and distances: with NaN, infinity or missing rows a ranking would be wrong without an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.evaluation.arguments import as_float, check_numbers, check_whole

Blocks = Iterable[tuple[int, Array]]
"""Blocks of distances: the index of the first query, and ``(rows, g)``."""

NAMED = 5
"""Maximum number of rows that a message names."""


def check_embeddings(queries: Array, gallery: Array) -> tuple[Array, Array]:
    """Return embeddings ``(q, D)`` and ``(g, D)``, with at least the precision of float32.

    Raises:
        EvaluationError: they are not rows of real numbers of one length, or a row is not finite, or so large that
            distances are not.
    """
    queries = as_float(check_numbers("embeddings of queries", queries, 2))
    gallery = as_float(check_numbers("embeddings of the gallery", gallery, 2))
    if queries.shape[1] != gallery.shape[1] or not queries.shape[1]:
        raise EvaluationError(
            f"embeddings: queries {queries.shape}, gallery {gallery.shape}; expected (q, D) and (g, D)."
            " Give one row per image, of one engine."
        )
    check_rows(queries, lambda i: f"query {i}")
    check_rows(gallery, lambda i: f"gallery {i}")
    return queries, gallery


def check_some(queries: Array, gallery: Array) -> None:
    """Raise `EvaluationError` if there is no query, or no gallery image."""
    if not (len(queries) and len(gallery)):
        raise EvaluationError(
            f"evaluation: {len(queries)} queries and {len(gallery)} gallery images; expected some of both."
            " Check the data set."
        )


def check_rows(rows: Array, name: Callable[[int], str]) -> None:
    """Raise `EvaluationError` that names the rows that are not finite, or so large that a distance might not be."""
    with np.errstate(over="ignore", invalid="ignore"):
        farthest = 4 * np.einsum("ij,ij->i", rows, rows)  # squared distance of two such rows in opposite directions
    bad = np.flatnonzero(~np.isfinite(farthest))
    if len(bad):
        refuse_rows(
            f"embeddings: {len(bad)} of {len(rows)} rows are not finite or too large", [name(int(i)) for i in bad]
        )


def check_distances(blocks: Blocks, queries: int, gallery: int) -> Iterator[tuple[int, Array]]:
    """Yield blocks of distances of so many queries and gallery images, as float32 or wider.

    Raises:
        EvaluationError: a distance is not finite; the rows and columns are named. Or the blocks do not have each query
            once, or not each gallery image.
    """
    times = np.zeros(queries, np.intp)
    for start, block in _unpack(blocks):
        if block.shape[1] != gallery:
            raise EvaluationError(
                f"blocks: distances to {block.shape[1]} images; expected {gallery}, the number of gallery identities."
                " Check the arrays."
            )
        if len(block) and start + len(block) > queries:
            raise EvaluationError(
                f"blocks: distances of {start + len(block)} queries; expected {queries}, the number of query"
                " identities. Check the arrays."
            )
        times[start : start + len(block)] += 1
        bad = ~np.isfinite(block)
        if bad.any():
            rows, columns = np.flatnonzero(bad.all(1)), np.flatnonzero(bad.all(0))
            names = [f"query {start + i}" for i in rows] + [f"gallery {j}" for j in columns]
            names = names or [f"query {start + i} to gallery {j}" for i, j in np.argwhere(bad)[:NAMED]]
            refuse_rows(f"distances: {np.count_nonzero(bad)} of {bad.size} are not finite", names)
        yield start, block
    if (times != 1).any():
        again = np.count_nonzero(times > 1)
        raise EvaluationError(
            f"blocks: distances of {np.count_nonzero(times)} queries{f', {again} more than once' if again else ''};"
            f" expected {queries}, the number of query identities, once each. Check the first indices of the blocks."
        )


def _unpack(blocks: object) -> Iterator[tuple[int, Array]]:
    if isinstance(blocks, Iterable) and not isinstance(blocks, np.ndarray):
        for pair in blocks:
            if not (isinstance(pair, tuple | list) and len(pair) == 2):
                break
            start = check_whole("blocks: index of the first query", pair[0], 0)
            yield start, as_float(check_numbers("blocks: distances", pair[1], 2))
        else:
            return
    raise EvaluationError(
        "blocks: no pairs of an index and distances; expected [(0, distances)], with distances (q, g). Give such pairs."
    )


def refuse_rows(what: str, names: Sequence[str]) -> NoReturn:
    """Raise `EvaluationError` about rows or pairs; it names the first of them."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    raise EvaluationError(
        f"{what}: {', '.join(names[:NAMED])}{more}; expected finite values. Check the engine with fastrt verify."
    )

"""Checks embeddings and distances for NaN and infinity, with which a ranking would be wrong without an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError

Blocks = Iterable[tuple[int, Array]]
"""Blocks of distances: the index of the first query, and ``(rows, g)``."""

NAMED = 5
"""Maximum number of rows that a message names."""


def check_embeddings(queries: Array, gallery: Array) -> tuple[Array, Array]:
    """Return embeddings ``(q, D)`` and ``(g, D)``, with at least the precision of float32.

    Raises:
        EvaluationError: they are not rows of one length, or a row is not finite, or so large that distances are not.
    """
    both = np.asarray(queries), np.asarray(gallery)
    if any(rows.ndim != 2 for rows in both) or both[0].shape[1] != both[1].shape[1]:
        raise EvaluationError(
            f"embeddings: queries {both[0].shape}, gallery {both[1].shape}; expected (q, D) and (g, D)."
            " Give one row per image, of one engine."
        )
    queries, gallery = (rows.astype(np.result_type(rows, np.float32), copy=False) for rows in both)
    check_rows(queries, lambda i: f"query {i}")
    check_rows(gallery, lambda i: f"gallery {i}")
    return queries, gallery


def check_rows(rows: Array, name: Callable[[int], str]) -> None:
    """Raise `EvaluationError` that names the rows that are not finite, or so large that a distance might not be."""
    with np.errstate(over="ignore", invalid="ignore"):
        farthest = 4 * np.einsum("ij,ij->i", rows, rows)  # squared distance of two such rows in opposite directions
    bad = np.flatnonzero(~np.isfinite(farthest))
    if len(bad):
        refuse_rows(
            f"embeddings: {len(bad)} of {len(rows)} rows are not finite or too large", [name(int(i)) for i in bad]
        )


def check_distances(blocks: Blocks) -> Iterator[tuple[int, Array]]:
    """Yield blocks of distances.

    Raises:
        EvaluationError: a distance is not finite; the rows and columns are named.
    """
    for start, block in blocks:
        bad = ~np.isfinite(block)
        if bad.any():
            queries, columns = np.flatnonzero(bad.all(1)), np.flatnonzero(bad.all(0))
            names = [f"query {start + i}" for i in queries] + [f"gallery {j}" for j in columns]
            names = names or [f"query {start + i} to gallery {j}" for i, j in np.argwhere(bad)[:NAMED]]
            refuse_rows(f"distances: {np.count_nonzero(bad)} of {bad.size} are not finite", names)
        yield start, block


def refuse_rows(what: str, names: Sequence[str]) -> NoReturn:
    """Raise `EvaluationError` about rows or pairs; it names the first of them."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    raise EvaluationError(
        f"{what}: {', '.join(names[:NAMED])}{more}; expected finite values. Check the engine with fastrt verify."
    )

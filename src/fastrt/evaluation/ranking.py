"""CMC, mAP and mINP, as FastReID counts them.

A query's own pictures by its own camera are junk: they are neither found nor missed. Where a true match stands is
counted, from how many pictures are nearer, and not read off a sorted list. Of pictures at the very same distance the
one that comes first in the gallery stands first; FastReID leaves their order to chance.

Source: fastreid/evaluation/rank.py, eval_market1501.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError

MAX_RANK = 50


@dataclass(frozen=True, eq=False)
class Ranking:
    """How well the gallery was ranked for the queries.

    Attributes:
        cmc: ``(max_rank,)``: which part of the queries has a true match among the first so many.
        mAP: mean average precision.
        mINP: mean inverse negative penalty: matches by the place of the last of them.
        average_precision: of each query, ``(q,)``; NaN where the gallery has no true match.
        valid: how many queries have one; the others count for nothing.
    """

    cmc: Array
    mAP: float  # noqa: N815  # as everybody writes it
    mINP: float  # noqa: N815
    average_precision: Array
    valid: int

    @property
    def rank1(self) -> float:
        """Which part of the queries has a true match in the first place."""
        return float(self.cmc[0])


def rank(
    blocks: Iterable[tuple[int, Array]],
    query_pids: Array,
    gallery_pids: Array,
    query_camids: Array,
    gallery_camids: Array,
    *,
    max_rank: int = MAX_RANK,
) -> Ranking:
    """Rank a gallery.

    Args:
        blocks: distances, ``(rows, g)`` each, with the query that each begins at; `distance_blocks`, or ``[(0, all)]``.
        query_pids: who is seen, ``(q,)`` integers.
        gallery_pids: ``(g,)``.
        query_camids: by which camera, ``(q,)`` integers.
        gallery_camids: ``(g,)``.
        max_rank: of the CMC; never more than the gallery has.

    Raises:
        EvaluationError: no query has a true match, or the arrays do not fit.

    >>> distances = np.array([[0.1, 0.2, 0.3, 0.4]])  # junk, a stranger, two matches
    >>> result = rank([(0, distances)], np.array([7]), np.array([7, 8, 7, 7]), np.array([0]), np.array([0, 0, 1, 2]))
    >>> result.cmc.tolist(), round(result.mAP, 3), round(result.mINP, 3)
    ([0.0, 1.0, 1.0, 1.0], 0.583, 0.667)
    """
    if len(query_pids) != len(query_camids) or len(gallery_pids) != len(gallery_camids):
        raise EvaluationError(
            f"{len(query_pids)} queries have {len(query_camids)} cameras, {len(gallery_pids)} gallery pictures"
            f" {len(gallery_camids)}; one each is wanted"
        )
    max_rank = min(max_rank, len(gallery_pids))
    groups = _group(gallery_pids)
    precision = np.full(len(query_pids), np.nan)
    penalty = np.full(len(query_pids), np.nan)
    firsts = []
    for start, distances in blocks:
        if distances.shape[1] != len(gallery_pids):
            raise EvaluationError(f"distances to {distances.shape[1]} pictures, and {len(gallery_pids)} identities")
        for i, row in enumerate(distances, start):
            same = groups.get(int(query_pids[i]), np.empty(0, np.intp))
            junk = gallery_camids[same] == query_camids[i]
            if junk.all():
                continue
            places = _places(row, same[~junk], same[junk])
            firsts.append(places[0])
            precision[i] = (np.arange(1, len(places) + 1) / places).mean()
            penalty[i] = len(places) / places[-1]
    if not firsts:
        raise EvaluationError("no query has a true match of another camera in the gallery; are the identities right?")
    found = np.bincount(np.minimum(firsts, max_rank + 1), minlength=max_rank + 2)
    cmc = np.cumsum(found[1 : max_rank + 1]) / len(firsts)
    return Ranking(cmc, float(np.nanmean(precision)), float(np.nanmean(penalty)), precision, len(firsts))


def _group(pids: Array) -> dict[int, Array]:
    """The places of each identity, ascending."""
    order = np.argsort(pids, kind="stable")
    values, starts = np.unique(pids[order], return_index=True)
    return {int(value): part for value, part in zip(values, np.split(order, starts[1:]), strict=True)}


def _places(row: Array, matches: Array, junk: Array) -> Array:
    """Where true matches stand in a list without junk, from 1, ascending."""
    matches = matches[np.lexsort((matches, row[matches]))]
    wanted = row[matches]
    ordered = np.sort(row[row <= wanted[-1]])  # what is farther than all matches is of no account
    nearer, not_farther = (np.searchsorted(ordered, wanted, side) for side in ("left", "right"))
    before = nearer - np.searchsorted(np.sort(row[junk]), wanted, "left")
    for j in np.flatnonzero(not_farther - nearer > 1):
        tied = np.flatnonzero(row == wanted[j])
        tied = tied[tied < matches[j]]
        before[j] += len(tied) - np.isin(tied, junk).sum()
    return np.asarray(before + 1)

"""Computes CMC, mAP and mINP as FastReID does.

Junk are gallery images with the query's identity and camera; they are removed from the ranking. The rank of a true
match is computed by counting nearer images, without sorting all. Ties are broken by gallery order; in FastReID their
order is undefined.

Source: fastreid/evaluation/rank.py, eval_market1501.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array
from fastrt.evaluation.arguments import check_whole
from fastrt.evaluation.finite import Blocks, check_distances
from fastrt.evaluation.labels import Labels, check_labels, group_images

MAX_RANK = 50

NEAREST = 10
"""Number of nearest gallery images that a ranking names."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores of a ranking.

    Attributes:
        cmc: cumulative matching characteristic ``(max_rank,)``: fraction of queries with a true match up to rank k.
        mAP: mean average precision.
        mINP: mean inverse negative penalty: number of matches divided by the rank of the last one.
        average_precision: of each query, ``(q,)``; NaN if the gallery has no true match.
        valid: number of queries with a true match; the others are ignored.
        nearest: indices of the nearest gallery images of each query without junk, nearest first, ``(q, 10)``; -1 behind
            the last.
    """

    cmc: Array
    mAP: float  # noqa: N815  # the common spelling
    mINP: float  # noqa: N815
    average_precision: Array
    valid: int
    nearest: Array

    @property
    def rank1(self) -> float:
        """Fraction of queries with a true match at rank 1."""
        return float(self.cmc[0])


def rank(
    blocks: Blocks,
    query_pids: Array,
    gallery_pids: Array,
    query_camids: Array,
    gallery_camids: Array,
    *,
    max_rank: int = MAX_RANK,
) -> Ranking:
    """Rank a gallery for each query, and score the ranking.

    Args:
        blocks: index of the first query and distances ``(rows, g)``: `distance_blocks`, or ``[(0, distances)]``.
        query_pids: identities of the queries, ``(q,)`` integers.
        gallery_pids: identities of the gallery, ``(g,)`` integers.
        query_camids: cameras of the queries, ``(q,)`` integers.
        gallery_camids: cameras of the gallery, ``(g,)`` integers.
        max_rank: length of the CMC, at least 1, at most the size of the gallery.

    Raises:
        EvaluationError: no query has a true match, a distance is not finite, the arrays do not fit each other, or the
            blocks do not have each query once.

    >>> distances = np.array([[0.1, 0.2, 0.3, 0.4]])  # junk, a stranger, two matches
    >>> result = rank([(0, distances)], np.array([7]), np.array([7, 8, 7, 7]), np.array([0]), np.array([0, 0, 1, 2]))
    >>> result.cmc.tolist(), round(result.mAP, 3), round(result.mINP, 3)
    ([0.0, 1.0, 1.0, 1.0], 0.583, 0.667)
    """
    labels = check_labels(Labels(query_pids, gallery_pids, query_camids, gallery_camids))
    query_pids, gallery_pids, query_camids, gallery_camids = labels
    max_rank = min(check_whole("rank: max_rank", max_rank, 1), len(gallery_pids))
    groups = group_images(gallery_pids)
    precision = np.full(len(query_pids), np.nan)
    penalty = np.full(len(query_pids), np.nan)
    nearest = np.full((len(query_pids), NEAREST), -1)
    firsts = []
    for start, distances in check_distances(blocks, len(query_pids), len(gallery_pids)):
        for i, row in enumerate(distances, start):
            same = groups.get(int(query_pids[i]), np.empty(0, np.intp))
            junk = gallery_camids[same] == query_camids[i]
            near = _nearest(row, same[junk])
            nearest[i, : len(near)] = near
            if junk.all():
                continue
            places = _places(row, same[~junk], same[junk])
            firsts.append(places[0])
            precision[i] = (np.arange(1, len(places) + 1) / places).mean()
            penalty[i] = len(places) / places[-1]
    found = np.bincount(np.minimum(firsts, max_rank + 1), minlength=max_rank + 2)
    cmc = np.cumsum(found[1 : max_rank + 1]) / len(firsts)
    return Ranking(cmc, float(np.nanmean(precision)), float(np.nanmean(penalty)), precision, len(firsts), nearest)


def _nearest(row: Array, junk: Array) -> Array:
    """Return the indices of the nearest gallery images without junk, nearest first."""
    row = row.copy()
    row[junk] = np.inf
    bound = np.partition(row, NEAREST)[NEAREST] if len(row) > NEAREST else np.inf
    near = np.flatnonzero((row <= bound) & np.isfinite(row))
    return np.asarray(near[np.argsort(row[near], kind="stable")][:NEAREST])


def _places(row: Array, matches: Array, junk: Array) -> Array:
    """Compute the ranks of true matches in the list without junk, from 1, ascending."""
    matches = matches[np.lexsort((matches, row[matches]))]
    wanted = row[matches]
    ordered = np.sort(row[row <= wanted[-1]])  # distances beyond the last match do not matter
    nearer, not_farther = (np.searchsorted(ordered, wanted, side) for side in ("left", "right"))
    before = nearer - np.searchsorted(np.sort(row[junk]), wanted, "left")
    for j in np.flatnonzero(not_farther - nearer > 1):
        tied = np.flatnonzero(row == wanted[j])
        tied = tied[tied < matches[j]]
        before[j] += len(tied) - np.isin(tied, junk).sum()
    return np.asarray(before + 1)

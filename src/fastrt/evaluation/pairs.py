"""All pairs of a query and a gallery picture, asked about in memory that does not grow with how many there are.

A data set has some hundred thousand pairs of one identity, and a billion of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import numpy as np

from fastrt.arrays import Array

Blocks = Iterable[tuple[int, Array]]
"""Distances, ``(rows, g)`` each, with the query that each begins at."""


class Pairs:
    """The distances of pairs, without junk: a query's own pictures by its own camera.

    Those of one identity are held. Those of two pass by in blocks, at each question anew, and are counted, or some of
    them held. Queries without a true match count for nothing.

    >>> distances = np.array([[0.1, 0.6, 0.5, 0.7]])  # two pictures of the query's person, and two of another
    >>> who = np.array([7]), np.array([7, 7, 8, 8]), np.array([0]), np.array([1, 2, 1, 2])
    >>> pairs = Pairs(lambda: [(0, distances)], *who)
    >>> pairs.same.tolist(), pairs.different, pairs.nearest_different(1).tolist()
    ([0.1, 0.6], 2, [0.5])
    >>> nearer, not_farther = pairs.count_different(pairs.same)
    >>> nearer.tolist(), not_farther.tolist()
    ([0, 1], [0, 1])
    """

    def __init__(
        self,
        blocks: Callable[[], Blocks],
        query_pids: Array,
        gallery_pids: Array,
        query_camids: Array,
        gallery_camids: Array,
    ) -> None:
        """Pair up a data set.

        Args:
            blocks: begins a pass.
            query_pids: who is seen, ``(q,)`` integers.
            gallery_pids: ``(g,)``.
            query_camids: by which camera, ``(q,)`` integers.
            gallery_camids: ``(g,)``.
        """
        self._blocks = blocks
        self._query = query_pids, query_camids
        self._gallery = gallery_pids, gallery_camids

    @property
    def same(self) -> Array:
        """The distances of pairs of one identity, ascending."""
        return self._counted[0]

    @property
    def different(self) -> int:
        """How many pairs are of two identities."""
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[Array, int]:
        same, different = [], 0
        for distances, alike, others in self._passing():
            same.append(distances[alike])
            different += others.size - int(np.count_nonzero(others))
        return np.sort(np.concatenate(same)), different

    def count_different(self, bounds: Array) -> tuple[Array, Array]:
        """How many pairs of two identities are nearer than each bound, and how many are not farther.

        Args:
            bounds: ``(n,)``.
        """
        counts = np.zeros((2, len(bounds)), np.int64)
        for values in self._all_different():
            values.sort()
            counts += [np.searchsorted(values, bounds, side) for side in ("left", "right")]
        return counts[0], counts[1]

    def nearest_different(self, count: int) -> Array:
        """The distances of the nearest pairs of two identities, ascending; all, if there are no more than ``count``."""
        held: Array = np.empty(0, np.float32)
        for values in self._all_different():
            near = values[values < held.max()] if len(held) == count else values
            held = np.concatenate([held, near])
            if len(held) > count:
                held = np.partition(held, count - 1)[:count]
        return np.sort(held[np.isfinite(held)])

    def _all_different(self) -> Iterator[Array]:
        """The distances of pairs of two identities, block by block, and infinity for all others."""
        for distances, _, others in self._passing():
            yield np.where(others, np.float32(np.inf), distances).ravel()

    def _passing(self) -> Iterator[tuple[Array, Array, Array]]:
        """Blocks of distances, which of them are of one identity, and which are not of two."""
        pids, camids = self._gallery
        for start, distances in self._blocks():
            query_pids, query_camids = (array[start : start + len(distances), None] for array in self._query)
            alike = query_pids == pids
            same = alike & (query_camids != camids)
            alike[~same.any(1)] = True
            yield distances, same, alike

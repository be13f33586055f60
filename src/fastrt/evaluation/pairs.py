"""Statistics of all pairs of a query and a gallery image, with bounded memory.

A data set has about a hundred thousand pairs of one identity, and a billion pairs of two identities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.evaluation.arguments import as_float, check_numbers, check_whole
from fastrt.evaluation.finite import Blocks, check_distances
from fastrt.evaluation.labels import Labels, read_labels
from fastrt.signatures import checked


class Pairs:
    """Distances of pairs without junk: gallery images with the query's identity and camera.

    Distances of one identity are stored. Distances of two identities are recomputed in blocks by each method. Queries
    without a true match are ignored. Methods raise `EvaluationError` if a distance is not finite, or if the blocks
    do not have each query once.

    >>> distances = np.array([[0.1, 0.6, 0.5, 0.7]])  # two images of the query's person, and two of another
    >>> who = np.array([7]), np.array([7, 7, 8, 8]), np.array([0]), np.array([1, 2, 1, 2])
    >>> pairs = Pairs(lambda: [(0, distances)], *who)
    >>> pairs.same.tolist(), pairs.different, pairs.nearest_different(1).tolist()
    ([0.1, 0.6], 2, [0.5])
    >>> nearer, not_farther = pairs.count_different(pairs.same)
    >>> nearer.tolist(), not_farther.tolist()
    ([0, 1], [0, 1])
    """

    @checked(EvaluationError, "flip")
    def __init__(
        self,
        blocks: Callable[[], Blocks],
        query_pids: Array,
        gallery_pids: Array,
        query_camids: Array,
        gallery_camids: Array,
        *,
        flip: bool = False,
    ) -> None:
        """Make the pairs of a data set.

        Args:
            blocks: starts a pass over the distances.
            query_pids: identities of the queries, ``(q,)`` integers.
            gallery_pids: identities of the gallery, ``(g,)`` integers.
            query_camids: cameras of the queries, ``(q,)`` integers.
            gallery_camids: cameras of the gallery, ``(g,)`` integers.
            flip: the embeddings are averaged with those of mirror images.

        Raises:
            EvaluationError: identities or cameras are not whole numbers, one per image, or ``blocks`` is no function.
        """
        labels = read_labels(Labels(query_pids, gallery_pids, query_camids, gallery_camids))
        if not callable(blocks):
            raise EvaluationError(
                f"pairs: blocks are {type(blocks).__name__}; expected a function that starts a pass over them."
                " Give lambda: distance_blocks(queries, gallery)."
            )
        self.flip = flip
        self._blocks = blocks
        self._query = labels.query_pids, labels.query_camids
        self._gallery = labels.gallery_pids, labels.gallery_camids

    @property
    def same(self) -> Array:
        """Distances of pairs of one identity, ascending."""
        return self._counted[0]

    @property
    def different(self) -> int:
        """Number of pairs of two identities."""
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[Array, int]:
        same, different = [], 0
        for distances, alike, others in self._passing():
            same.append(distances[alike])
            different += others.size - int(np.count_nonzero(others))
        return np.sort(np.concatenate(same)), different

    def count_different(self, bounds: Array) -> tuple[Array, Array]:
        """Count the pairs of two identities with distances ``< bound`` and ``<= bound``, for each bound.

        Args:
            bounds: ``(n,)`` distances.
        """
        bounds = as_float(check_numbers("bounds", bounds, 1))
        counts = np.zeros((2, len(bounds)), np.int64)
        for values in self._all_different():
            values.sort()
            counts += [np.searchsorted(values, bounds, side) for side in ("left", "right")]
        return counts[0], counts[1]

    def nearest_different(self, count: int) -> Array:
        """Return the ``count`` smallest distances of pairs of two identities, ascending, or all if there are fewer."""
        count = check_whole("pairs: count", count, 1)
        held: Array = np.empty(0, np.float32)
        for values in self._all_different():
            near = values[values < held.max()] if len(held) == count else values
            held = np.concatenate([held, near])
            if len(held) > count:
                held = np.partition(held, count - 1)[:count]
        return np.sort(held[np.isfinite(held)])

    def _all_different(self) -> Iterator[Array]:
        """Yield blocks of distances of pairs of two identities, with infinity for all other pairs."""
        for distances, _, others in self._passing():
            yield np.where(others, np.float32(np.inf), distances).ravel()

    def _passing(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield blocks of distances, a mask of pairs of one identity, and a mask of pairs that are not of two."""
        pids, camids = self._gallery
        for start, distances in check_distances(self._blocks(), len(self._query[0]), len(pids)):
            query_pids, query_camids = (array[start : start + len(distances), None] for array in self._query)
            alike = query_pids == pids
            same = alike & (query_camids != camids)
            alike[~same.any(1)] = True
            yield distances, same, alike

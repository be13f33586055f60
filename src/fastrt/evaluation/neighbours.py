"""Nearest neighbours of all rows, computed in blocks without the full distance matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastrt.arrays import Array
from fastrt.evaluation.distances import Metric, distance_blocks


def find_nearest(
    rows: Array, metric: Metric, count: int, look: Callable[[int, Array], None] = lambda *_: None
) -> tuple[Array, Array]:
    """Find the ``count`` nearest rows of each row, itself included: indices and distances ``(n, count)``.

    Neighbours are sorted by distance; ties are broken by row order. ``look`` is called with the index of the first row
    of each block and the block of distances.

    >>> places, _ = find_nearest(np.array([[0.0], [1.0], [3.0]]), "euclidean", 2)
    >>> places.tolist()
    [[0, 1], [1, 0], [2, 1]]
    """
    count = min(count, len(rows))
    places = np.empty((len(rows), count), np.intp)
    found = np.empty((len(rows), count), rows.dtype)
    for start, block in distance_blocks(rows, rows, metric):
        look(start, block)
        part = np.argpartition(block, count - 1, axis=1)[:, :count]
        distances = np.take_along_axis(block, part, 1)
        order = np.lexsort((part, distances))
        stop = start + len(block)
        places[start:stop] = np.take_along_axis(part, order, 1)
        found[start:stop] = np.take_along_axis(distances, order, 1)
    return places, found

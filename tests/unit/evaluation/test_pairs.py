"""Statistics of pairs in blocks equal those of all pairs at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrt.arrays import Array
from fastrt.evaluation.labels import Labels, count_pairs
from fastrt.evaluation.pairs import Pairs


def pair_up(same: Array, different: Array) -> Pairs:
    """Make the pairs of one query with these distances."""
    distances = np.concatenate([same, different])[None]
    pids = np.repeat([7, 8], [len(same), len(different)])
    return Pairs(lambda: [(0, distances)], np.array([7]), pids, np.array([0]), np.ones(len(pids), int))


@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 12),
    gallery=st.integers(1, 30),
    people=st.integers(1, 6),
    rows=st.integers(1, 5),
    count=st.integers(1, 400),
)
def test_blocks_equal_all_pairs_at_once(
    seed: int, queries: int, gallery: int, people: int, rows: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 20, (queries, gallery)).astype(np.float32) / 10
    query_pids, query_camids = rng.integers(0, people, queries), rng.integers(0, 3, queries)
    gallery_pids, gallery_camids = rng.integers(0, people, gallery), rng.integers(0, 3, gallery)
    same, different = [], []
    for i in range(queries):
        true = (gallery_pids == query_pids[i]) & (gallery_camids != query_camids[i])
        same += distances[i, true].tolist()
        if true.any():
            different += distances[i, gallery_pids != query_pids[i]].tolist()

    def blocks() -> Iterator[tuple[int, Array]]:
        for start in range(0, queries, rows):
            yield start, distances[start : start + rows]

    pairs = Pairs(blocks, query_pids, gallery_pids, query_camids, gallery_camids)
    assert pairs.same.tolist() == sorted(same)
    assert pairs.different == len(different)
    assert count_pairs(Labels(query_pids, gallery_pids, query_camids, gallery_camids)) == (len(same), len(different))
    assert pairs.nearest_different(count).tolist() == sorted(different)[:count]
    bounds = np.array([0.0, 0.3, 0.35, 1.9, 5.0], np.float32)
    nearer, not_farther = pairs.count_different(bounds)
    assert nearer.tolist() == [sum(value < bound for value in different) for bound in bounds]
    assert not_farther.tolist() == [sum(value <= bound for value in different) for bound in bounds]


def test_memory_does_not_grow_with_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    partition = np.partition

    def watch(values: Array, place: int) -> Array:
        looked_at.append(len(values))
        return np.asarray(partition(values, place))

    monkeypatch.setattr(np, "partition", watch)
    rng = np.random.default_rng(0)
    blocks = [(i, rng.random((1, 1000), np.float32)) for i in range(50)]
    pids = np.array([1, *[0] * 999])
    pairs = Pairs(lambda: blocks, np.ones(50, int), pids, np.zeros(50, int), np.ones(1000, int))
    nearest = pairs.nearest_different(100)
    assert np.array_equal(nearest, np.sort(np.concatenate([block[0, 1:] for _, block in blocks]))[:100])
    assert max(looked_at) <= 1100
    assert max(looked_at[10:]) < 200  # pairs beyond the nearest ones are skipped

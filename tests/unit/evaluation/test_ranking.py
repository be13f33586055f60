"""Ranking against FastReID's own results, and against brute force."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.evaluation.distances import METRICS, Metric, distance_blocks
from fastrt.evaluation.ranking import NEAREST, Ranking, rank

FOLDER = Path(__file__).parents[2] / "golden" / "evaluation"
WANTED = json.loads((FOLDER / "case.json").read_text())
with np.load(FOLDER / "case.npz") as _file:
    CASE: dict[str, Array] = dict(_file)
WHO = tuple(CASE[name] for name in ("query_pids", "gallery_pids", "query_camids", "gallery_camids"))


@pytest.mark.parametrize("metric", METRICS)
def test_distances_equal_fastreids(metric: Metric) -> None:
    got = METRICS[metric](CASE["query_features"], CASE["gallery_features"])
    assert np.allclose(got, CASE[f"dist_{metric}"], rtol=1e-5, atol=1e-4)
    blocks = list(distance_blocks(CASE["query_features"], CASE["gallery_features"], metric))
    assert np.allclose(np.concatenate([block for _, block in blocks]), got, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_equal_fastreids(metric: Metric) -> None:
    got = rank([(0, CASE[f"dist_{metric}"])], *WHO)
    want = WANTED[metric]
    assert np.allclose(got.cmc, want["cmc"], atol=1e-6)
    assert got.mAP == pytest.approx(want["mAP"], abs=1e-6)
    assert got.mINP == pytest.approx(want["mINP"], abs=1e-6)
    assert got.valid == want["valid"]
    assert np.allclose(got.average_precision, CASE[f"ap_{metric}"], atol=1e-6)
    assert got.rank1 == got.cmc[0]


def _brute(distances: Array, pids: Array, gallery_pids: Array, camids: Array, gallery_camids: Array) -> Ranking | None:
    curves, precisions, penalties, nearest = [], [], [], []
    max_rank = min(50, distances.shape[1])
    for row, pid, camid in zip(distances, pids, camids, strict=True):
        order = np.argsort(row, kind="stable")
        order = order[~((gallery_pids[order] == pid) & (gallery_camids[order] == camid))]
        nearest.append(np.pad(order[:NEAREST], (0, NEAREST - len(order[:NEAREST])), constant_values=-1))
        hits = gallery_pids[order] == pid
        if not hits.any():
            continue
        curve = np.minimum(np.cumsum(hits), 1)[:max_rank].astype(float)
        curves.append(np.pad(curve, (0, max_rank - len(curve)), constant_values=1.0))
        precisions.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
        penalties.append(hits.sum() / (np.flatnonzero(hits)[-1] + 1))
    if not curves:
        return None
    cmc = np.mean(curves, 0)
    scores = cmc, float(np.mean(precisions)), float(np.mean(penalties)), np.array(precisions)
    return Ranking(*scores, len(curves), np.array(nearest))


@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 6),
    gallery=st.integers(1, 40),
    people=st.integers(1, 6),
    steps=st.sampled_from([2, 5, 1000]),
)
def test_ranking_equals_a_stable_sort_with_ties(seed: int, queries: int, gallery: int, people: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, steps, (queries, gallery)).astype(np.float32)
    who = [rng.integers(0, high, size) for high, size in ((people, queries), (people, gallery))]
    cameras = [rng.integers(0, 3, size) for size in (queries, gallery)]
    want = _brute(distances, who[0], who[1], cameras[0], cameras[1])
    if want is None:
        with pytest.raises(EvaluationError, match="rank: no true match"):
            rank([(0, distances)], who[0], who[1], cameras[0], cameras[1])
        return
    got = rank([(0, distances[:2]), (2, distances[2:])], who[0], who[1], cameras[0], cameras[1])
    assert np.allclose(got.cmc, want.cmc)
    assert np.allclose([got.mAP, got.mINP, got.valid], [want.mAP, want.mINP, want.valid])
    np.testing.assert_array_equal(got.nearest, want.nearest)


def test_arrays_of_other_lengths_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="1 queries have 2 cameras"):
        rank([], np.zeros(1), np.zeros(3), np.zeros(2), np.zeros(3))
    with pytest.raises(EvaluationError, match="distances to 4 images; expected 3"):
        rank([(0, np.zeros((1, 4)))], np.zeros(1), np.zeros(3), np.zeros(1), np.ones(3))
    with pytest.raises(EvaluationError, match="distances of 1 queries; expected 2"):
        rank([(0, np.zeros((1, 3)))], np.zeros(2), np.zeros(3), np.zeros(2), np.ones(3))


def test_a_data_set_of_market_1501s_size_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(0, 1, (751, 128))
    who, cameras = ([rng.integers(0, high, size) for size in (3368, 19732)] for high in (751, 6))
    features = [(people[pids] + rng.normal(0, 2, (len(pids), 128))).astype(np.float32) for pids in who]
    start = time.perf_counter()
    result = rank(distance_blocks(features[0], features[1]), who[0], who[1], cameras[0], cameras[1])
    assert time.perf_counter() - start < 30
    assert 0 < result.mAP < result.rank1 < 1

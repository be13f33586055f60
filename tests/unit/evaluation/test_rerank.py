from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.evaluation.distances import cosine_distances
from fastrt.evaluation.expansion import expand_queries
from fastrt.evaluation.neighbours import find_nearest
from fastrt.evaluation.ranking import rank
from fastrt.evaluation.rerank import RERANKINGS, Reranking, rerank

FOLDER = Path(__file__).parents[2] / "golden" / "evaluation"
WANTED = json.loads((FOLDER / "case.json").read_text())
with np.load(FOLDER / "case.npz") as _file:
    CASE: dict[str, Array] = dict(_file)
WHO = tuple(CASE[name] for name in ("query_pids", "gallery_pids", "query_camids", "gallery_camids"))
FEATURES = CASE["query_features"], CASE["gallery_features"]


def test_jaccard_distances_equal_fastreids() -> None:
    assert np.allclose(rerank(*FEATURES, weight=0.0), CASE["jaccard"], atol=1e-5)


@pytest.mark.parametrize("method", RERANKINGS)
def test_scores_equal_fastreids(method: Reranking) -> None:
    got = rank([(0, rerank(*FEATURES, method))], *WHO)
    want = WANTED[f"rerank_{method}_20_6_0.3"]
    assert np.allclose(got.cmc, want["cmc"], atol=1e-6)
    assert got.mAP == pytest.approx(want["mAP"], abs=1e-6)
    assert got.mINP == pytest.approx(want["mINP"], abs=1e-6)


def test_zhong_distances_equal_the_papers_code() -> None:
    assert np.allclose(rerank(*FEATURES, "zhong"), CASE["rerank_zhong"], atol=1e-5)


def test_expanded_queries_equal_fastreids() -> None:
    queries, gallery = expand_queries(*FEATURES)
    assert np.allclose(queries, CASE["aqe_query"], atol=1e-5)
    assert np.allclose(gallery, CASE["aqe_gallery"], atol=1e-5)


def test_nearest_rows_equal_a_full_sort() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (70, 5)).astype(np.float32)
    places, distances = find_nearest(rows, "cosine", 9)
    want = np.argsort(cosine_distances(rows, rows), axis=1, kind="stable")[:, :9]
    assert np.array_equal(places[:, 1:], want[:, 1:])
    assert (np.diff(distances, axis=1) >= 0).all()
    assert find_nearest(rows[:4], "euclidean", 9)[0].shape == (4, 4)

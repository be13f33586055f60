"""The functions of an evaluation take real numbers that fit each other, or refuse them in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.evaluation.distances import cosine_distances, distance_blocks, euclidean_distances
from fastrt.evaluation.expansion import expand_queries
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.ranking import rank
from fastrt.evaluation.rerank import rerank
from fastrt.evaluation.roc import true_positive_rates, verification_curve
from fastrt.evaluation.threshold import find_threshold
from promise.test_scores import GALLERY, ON_EMBEDDINGS, QUERIES, WHO

DISTANCES = cosine_distances(QUERIES, GALLERY)


def _pairs(distances: Any = DISTANCES) -> Pairs:
    return Pairs(lambda: [(0, distances)], *WHO)


ODD: dict[str, tuple[Callable[[Any], Any], list[Any], str]] = {
    "method": (
        lambda v: rerank(QUERIES, GALLERY, v),
        ["Zhong", "none", None, ["zhong"]],
        "method .*; expected fastreid",
    ),
    "metric": (lambda v: rerank(QUERIES, GALLERY, metric=v), ["l2", None, 1], "metric .*; expected cosine or euc"),
    "metric of blocks": (lambda v: distance_blocks(QUERIES, GALLERY, v), ["l2", None], "metric .*; expected cosine"),
    "weight": (
        lambda v: rerank(QUERIES, GALLERY, weight=v),
        [np.nan, np.inf, -0.1, 1.1, True, "0.3", None],
        "weight .*; expected a finite number from 0 to 1",
    ),
    "k1": (lambda v: rerank(QUERIES, GALLERY, k1=v), [0, -1, 2.0, True, "2"], "k1 .*; expected at least 1, a whole"),
    "k2": (lambda v: rerank(QUERIES, GALLERY, k2=v), [0, 1.5, None], "k2 .*; expected at least 1, a whole number"),
    "neighbours": (lambda v: expand_queries(QUERIES, GALLERY, neighbours=v), [0, -1, 2.5], "neighbours .*at least 1"),
    "times": (lambda v: expand_queries(QUERIES, GALLERY, times=v), [0, -1, 1.0], "times .*; expected at least 1"),
    "alpha": (lambda v: expand_queries(QUERIES, GALLERY, alpha=v), [np.nan, -1, "3"], "alpha .*; expected a finite"),
    "max_rank": (lambda v: rank([(0, DISTANCES)], *WHO, max_rank=v), [0, -1, 2.5, "5"], "max_rank .*at least 1"),
    "false matches": (lambda v: find_threshold(_pairs(), v), [np.nan, "0.1", None, 0, 1, 1e-320], "expected"),
    "rates": (lambda v: true_positive_rates(_pairs(), v), [[np.nan], [2.0], 0.1, "ab", None], "rates.*; expected"),
    "points": (lambda v: verification_curve(_pairs(), v), [0, 2.5], "points .*; expected at least 1"),
    "no query": (lambda v: rerank(v, GALLERY), [QUERIES[:0]], "0 queries and 30 gallery images; expected some of both"),
    "no gallery": (lambda v: rerank(QUERIES, v), [GALLERY[:0]], "6 queries and 0 gallery images"),
    "nothing to expand": (lambda v: expand_queries(v, v), [QUERIES[:0]], "0 queries and 0 gallery images"),
    "blocks": (
        lambda v: rank(v, *WHO),
        [DISTANCES, None, "ab", {0: DISTANCES}, [DISTANCES], [(0, DISTANCES, 1)]],
        r"blocks: no pairs of an index and distances; expected \[\(0, distances\)\]",
    ),
    "blocks of pairs": (lambda v: Pairs(v, *WHO), [[(0, DISTANCES)], None], "blocks are .*; expected a function"),
    "index": (lambda v: rank([(v, DISTANCES)], *WHO), [-6, 0.0, None, "0"], "index of the first query .*at least 0"),
    "labels": (
        lambda v: rank([(0, DISTANCES)], v, *WHO[1:]),
        [WHO[0][:, None], None, 3, list("abcdef"), WHO[0] > 1, np.ma.masked_less(WHO[0], 2), [10**30] * 6],
        "query_pids: .*; expected a 1-D array of real numbers, without a mask",
    ),
    "labels of pairs": (lambda v: Pairs(list, v, *WHO[1:]), [WHO[0][:, None], None, "a"], "query_pids: .*1-D"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ODD)
def test_an_odd_argument_is_refused_in_one_sentence(name: str) -> None:
    call, values, message = ODD[name]
    for value in values:
        with pytest.raises(EvaluationError, match=message):
            call(value)


NO_NUMBERS: dict[str, Callable[[Array], Any]] = {
    "masked": lambda a: np.ma.masked_greater(a, 0.5),
    "masked rows": lambda a: [np.ma.masked_greater(row, 0.5) for row in a],
    "bool": lambda a: a > 0.5,
    "complex": lambda a: a + 0j,
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
    "dates": lambda a: a.astype("datetime64[s]"),
    "one axis": lambda a: a[0],
    "three axes": lambda a: a[None],
    "rows of two lengths": lambda a: [a[0].tolist(), a[1, :3].tolist()],
    "none": lambda _: None,
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_arrays_that_are_not_real_numbers_are_refused_everywhere(kind: str) -> None:
    make = NO_NUMBERS[kind]
    for on_embeddings in ON_EMBEDDINGS.values():
        for queries, gallery, part in ((make(QUERIES), GALLERY, "queries"), (QUERIES, make(GALLERY), "the gallery")):
            with pytest.raises(
                EvaluationError, match=f"embeddings of {part}: .*; expected a 2-D array of real numbers"
            ):
                on_embeddings(queries, gallery)
    for call in (lambda d: rank([(0, d)], *WHO), lambda d: find_threshold(_pairs(d), 0.1), lambda d: _pairs(d).same):
        with pytest.raises(
            EvaluationError, match="distances: .*; expected a 2-D array of real numbers, without a mask"
        ):
            call(make(DISTANCES))


@pytest.mark.parametrize(
    "rows",
    [[(0, 2), (0, 2)], [(0, 6), (0, 6)], [(0, 4), (3, 6)], [(0, 3), (4, 6)], [(0, 3)], [], [(0, 6), (2, 3)]],
)
def test_blocks_have_each_query_once(rows: list[tuple[int, int]]) -> None:
    blocks = [(start, DISTANCES[start:stop]) for start, stop in rows]
    for call in (lambda: rank(blocks, *WHO), lambda: Pairs(lambda: blocks, *WHO).same):
        with pytest.raises(EvaluationError, match="blocks: distances of .*; expected 6, .* once each"):
            call()
    with pytest.raises(EvaluationError, match="blocks: distances of 7 queries; expected 6"):
        rank([(1, DISTANCES)], *WHO)
    backwards = [(3, DISTANCES[3:]), (0, DISTANCES[:3])]
    assert rank(backwards, *WHO).mAP == rank([(0, DISTANCES)], *WHO).mAP


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int8, np.int64, np.float16])
def test_integers_and_halves_are_computed_as_floats(dtype: Any) -> None:
    queries, gallery = (np.abs(20 * rows).astype(dtype) for rows in (QUERIES, GALLERY))
    whole = np.round(DISTANCES).astype(dtype)
    for name, on_embeddings in ON_EMBEDDINGS.items():
        got, want = on_embeddings(queries, gallery), on_embeddings(queries.astype(float), gallery.astype(float))
        if name in ("cosine distances", "euclidean distances", "query expansion"):
            np.testing.assert_allclose(np.concatenate(got), np.concatenate(want), rtol=1e-3, atol=1e-3)
    assert find_threshold(_pairs(whole), 0.9) == find_threshold(_pairs(whole.astype(np.float32)), 0.9)
    assert rank([(0, whole)], *WHO).mAP == rank([(0, whole.astype(float))], *WHO).mAP


def test_a_threshold_needs_cosine_distances() -> None:
    for distances in (euclidean_distances(QUERIES, GALLERY), (100 * DISTANCES).astype(np.uint8), DISTANCES - 1):
        with pytest.raises(EvaluationError, match="threshold: distances from .*; expected cosine distances, 0 to 2"):
            find_threshold(_pairs(distances), 0.5)


def test_expansion_with_powers_of_negative_cosines_is_refused() -> None:
    with pytest.raises(EvaluationError, match="not finite"), np.errstate(invalid="ignore"):
        expand_queries(QUERIES, GALLERY, neighbours=36, alpha=2.5)
    expand_queries(QUERIES, GALLERY, neighbours=36, alpha=3)


def test_lists_serve_as_arrays() -> None:
    lists = [labels.tolist() for labels in WHO]
    want = rank([(0, DISTANCES)], *WHO)
    assert rank([(0, DISTANCES.tolist())], *lists).mAP == want.mAP  # type: ignore[arg-type]
    assert np.allclose(rerank(QUERIES.tolist(), GALLERY.tolist()), rerank(QUERIES, GALLERY), atol=1e-5)

"""Scores are computed of finite numbers and of true matches, or refused with the rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Run, Small
from fastrt.arrays import Array
from fastrt.datasets import DataSet, LabelledImage
from fastrt.errors import EvaluationError
from fastrt.evaluation.distances import cosine_distances, distance_blocks, euclidean_distances
from fastrt.evaluation.expansion import expand_queries
from fastrt.evaluation.labels import number_labels
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.ranking import rank
from fastrt.evaluation.rerank import RERANKINGS, Reranking, rerank
from fastrt.evaluation.roc import true_positive_rates, verification_curve
from fastrt.evaluation.threshold import find_threshold
from fastrt.images.drawing import draw_person

QUERIES, GALLERY = (np.random.default_rng(0).normal(0, 1, (n, 8)).astype(np.float32) for n in (6, 30))
WHO = np.arange(6), np.arange(30) % 6, np.zeros(6, int), np.ones(30, int)

ON_EMBEDDINGS: dict[str, Callable[[Array, Array], Any]] = {
    "cosine distances": cosine_distances,
    "euclidean distances": euclidean_distances,
    "blocks": lambda q, g: list(distance_blocks(q, g)),
    "rank": lambda q, g: rank(distance_blocks(q, g), *WHO),
    "re-ranking fastreid": lambda q, g: rerank(q, g, "fastreid"),
    "re-ranking zhong": lambda q, g: rerank(q, g, "zhong"),
    "re-ranking euclidean": lambda q, g: rerank(q, g, "fastreid", "euclidean"),
    "query expansion": expand_queries,
    "threshold": lambda q, g: find_threshold(Pairs(lambda: distance_blocks(q, g), *WHO), 0.1),
    "roc": lambda q, g: true_positive_rates(Pairs(lambda: distance_blocks(q, g), *WHO)),
}

ON_DISTANCES: dict[str, Callable[[Array], Any]] = {
    "rank": lambda d: rank([(0, d[:4]), (4, d[4:])], *WHO),
    "pairs": lambda d: Pairs(lambda: [(0, d[:4]), (4, d[4:])], *WHO).same,
    "roc": lambda d: true_positive_rates(Pairs(lambda: [(0, d[:4]), (4, d[4:])], *WHO)),
    "verification curve": lambda d: verification_curve(Pairs(lambda: [(0, d[:4]), (4, d[4:])], *WHO)),
    "threshold": lambda d: find_threshold(Pairs(lambda: [(0, d[:4]), (4, d[4:])], *WHO), 0.1),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ON_EMBEDDINGS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_embeddings_that_are_not_finite_are_refused_by_row(name: str, value: float) -> None:
    ON_EMBEDDINGS[name](QUERIES, GALLERY)
    for part, row in (("query", 4), ("gallery", 17)):
        queries, gallery = QUERIES.copy(), GALLERY.copy()
        (queries if part == "query" else gallery)[row, 3] = value
        with pytest.raises(
            EvaluationError, match=rf"embeddings: 1 of \d+ rows are not finite .*: {part} {row}; expected"
        ):
            ON_EMBEDDINGS[name](queries, gallery)


@pytest.mark.parametrize("name", ON_DISTANCES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_distances_that_are_not_finite_are_refused_by_row(name: str, value: float) -> None:
    distances = cosine_distances(QUERIES, GALLERY)
    ON_DISTANCES[name](distances)
    for place, named in (
        ((5, slice(None)), "query 5"),
        ((slice(None), 7), "gallery 7"),
        ((5, 7), "query 5 to gallery 7"),
    ):
        broken = distances.copy()
        broken[place] = value
        with pytest.raises(EvaluationError, match=rf"distances: .* not finite: {named}; expected finite values"):
            ON_DISTANCES[name](broken)


def test_a_message_names_the_first_rows_of_many() -> None:
    with pytest.raises(EvaluationError, match="30 of 30 rows .*: gallery 0, .*, gallery 4 and 25 more; expected"):
        cosine_distances(QUERIES, np.full_like(GALLERY, np.nan))


def test_half_precision_embeddings_do_not_overflow() -> None:
    queries, gallery = (100 * QUERIES).astype(np.float16), (100 * GALLERY).astype(np.float16)
    want = euclidean_distances(queries.astype(np.float64), gallery.astype(np.float64))
    np.testing.assert_allclose(euclidean_distances(queries, gallery), want, rtol=1e-4, atol=0.1)


def test_rows_of_two_engines_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"queries \(6, 8\), gallery \(30, 7\); expected"):
        cosine_distances(QUERIES, GALLERY[:, :7])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", RERANKINGS)
@pytest.mark.parametrize("copies", [21, 40])
def test_an_image_may_stand_many_times_in_a_gallery(method: Reranking, copies: int) -> None:
    gallery = np.concatenate([GALLERY[:9], np.repeat(GALLERY[9:10], copies, 0), GALLERY[10:]])
    distances = rerank(QUERIES, gallery, method)
    assert distances.shape == (6, len(gallery))
    assert np.isfinite(distances).all()


@pytest.mark.parametrize("method", RERANKINGS)
def test_a_row_without_mutual_neighbours_contributes_none(method: Reranking) -> None:
    rows = np.repeat(QUERIES[:1], 30, 0)  # 30 copies: each has the first 20 as neighbours, the last are nobody's
    jaccard = rerank(rows[:25], rows[25:], method, k2=1, weight=0.0)
    assert np.isfinite(jaccard).all()
    assert (jaccard[20:] == 1).all()  # nothing in common with any image
    assert np.isfinite(rerank(rows[:25], rows[25:], method)).all()


def _reference(rows: Array, queries: int, k1: int = 20, k2: int = 6) -> Array:
    """Jaccard distances, as FastReID's compute_jaccard_distance, with ties in the order of the rows."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    squared = np.maximum(euclidean_distances(unit, unit), 0)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k1]

    def mutual(i: int, k: int) -> Array:
        near = order[i, : k + 1]
        return np.asarray(near[(order[near, : k + 1] == i).any(1)])

    features = np.zeros((len(rows), len(rows)))
    for i in range(len(rows)):
        own = mutual(i, k1)
        members = own
        for candidate in own:
            others = mutual(candidate, int(np.around(k1 / 2)))
            if len(np.intersect1d(others, own)) > 2 / 3 * len(others):
                members = np.append(members, others)
        members = np.unique(members)
        if len(members):
            weights = np.exp(-squared[i, members])
            features[i, members] = weights / weights.sum()
    features = features[order[:, :k2]].mean(1)
    common = np.minimum(features[:queries, None], features[None, queries:]).sum(2)
    return np.asarray(np.maximum(1 - common / (2 - common), 0))


def test_repeated_images_are_ranked_as_by_fastreid() -> None:
    # Powers of two and orthogonal rows: distances are exact, so that ties are ties in both.
    base = np.eye(12, dtype=np.float32)
    rows = np.concatenate([base[:3], np.repeat(base[3:4], 24, 0), base[:3], base[4:]])
    got = rerank(rows[:4], rows[4:], "fastreid", weight=0.0)
    np.testing.assert_allclose(got, _reference(rows, 4), atol=1e-5)


def _draw(folder: Path, cameras: tuple[int, int], people: tuple[int, int] = (0, 0)) -> DataSet:
    parts: list[tuple[LabelledImage, ...]] = []
    for part, camera, first in zip(("query", "gallery"), cameras, people, strict=True):
        images = []
        for person in range(first, first + 6):
            path = folder / f"{part}{person}.png"
            PIL.Image.fromarray(draw_person(person, camera, 64, 32)[..., ::-1]).save(path)
            images.append(LabelledImage(path, person, camera))
        parts.append(tuple(images))
    return DataSet("six people", parts[0], parts[1])


def test_matches_of_the_own_camera_are_named_as_the_reason(small: Small, tmp_path: Path) -> None:
    embedded: list[int] = []
    with fastrt.load(small.engine) as session:
        for cameras, people, message in (
            ((1, 1), (0, 0), "6 of 6 queries match only images of their own camera; expected"),
            ((1, 1), (0, 2), "4 of 6 queries match only images of their own camera, and 2 match none; expected"),
            ((1, 2), (0, 9), "the gallery has no image of the identities of the 6 queries"),
        ):
            with pytest.raises(EvaluationError, match=f"no true match: {message}"):
                fastrt.evaluate(session, _draw(tmp_path, cameras, people), advance=embedded.append)
        assert embedded == []  # before the work
        assert fastrt.evaluate(session, _draw(tmp_path, (1, 2))).valid == 6


def test_labels_that_are_absent_are_refused() -> None:
    distances = [(0, cosine_distances(QUERIES, GALLERY))]
    with pytest.raises(EvaluationError, match="gallery_pids are not all whole numbers"):
        rank(distances, WHO[0], np.where(WHO[1] == 3, np.nan, WHO[1]), WHO[2], WHO[3])
    nobody: Any = None
    for image in (LabelledImage(Path("a.jpg"), nobody, 1), LabelledImage(Path("a.jpg"), 1, nobody)):
        with pytest.raises(EvaluationError, match=r"a\.jpg: identity .*None.*; expected whole numbers"):
            number_labels([image], [image])
    with pytest.raises(EvaluationError, match="6 queries and 0 gallery images; expected some of both"):
        rank([], WHO[0], WHO[1][:0], WHO[2], WHO[3][:0])


def test_evaluate_names_the_images_whose_embeddings_are_not_finite(
    small: Small, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastrt.engine.session import Session

    data_set = _draw(tmp_path, (1, 2))
    table = tmp_path / "six.csv"
    rows = [
        f"{image.path.name},{image.pid},{image.camid},{role}\n"
        for role, part in (("query", data_set.query), ("gallery", data_set.gallery))
        for image in part
    ]
    table.write_text("path,identity,camera,role\n" + "".join(rows))
    whole = Session.embed_batches

    def broken(self: Session, batches: Any) -> Any:
        for embeddings in whole(self, batches):
            embeddings[3:5] = np.nan
            yield embeddings

    monkeypatch.setattr(Session, "embed_batches", broken)
    result = run("evaluate", small.engine, "--dataset", "csv", "--root", table)
    assert (result.code, result.out) == (2, "")
    assert f"{tmp_path / 'query3.png'}, {tmp_path / 'query4.png'}" in result.err


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

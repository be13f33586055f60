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


@pytest.mark.parametrize(("scale", "dtype"), [(1e-30, "f4"), (1e-45, "f4"), (1e-200, "f8"), (1e17, "f4"), (1, "f8")])
def test_a_cosine_does_not_depend_on_the_lengths_of_rows(scale: float, dtype: str) -> None:
    rows = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0]]) * np.array(scale, dtype)
    want = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    np.testing.assert_allclose(cosine_distances(rows.astype(dtype), np.sign(rows)), want, atol=1e-6)
    for _, block in distance_blocks(rows.astype(dtype), rows.astype(dtype)):
        np.testing.assert_allclose(block, want, atol=1e-6)


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


@pytest.mark.parametrize("seed", range(10))
def test_rounding_does_not_decide_whom_a_threshold_accepts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = np.arange(40)
    rows = [rng.normal(0, 1, (n, 8)).astype(np.float32) for n in (40, 200)]
    who = people, np.arange(200) % 40, np.zeros(40, int), np.ones(200, int)
    threshold = find_threshold(Pairs(lambda: distance_blocks(rows[0], rows[1]), *who), 0.05)
    queries, gallery = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (r.astype(float) for r in rows))
    cosines = (queries @ gallery.T)[who[0][:, None] != who[1]]
    for noise in (0, 2e-7, -2e-7):
        assert (cosines + noise >= threshold.similarity).mean() == pytest.approx(threshold.false_matches, abs=1e-12)

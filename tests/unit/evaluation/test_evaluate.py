"""A whole evaluation, on drawn people in Market-1501's layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Small
from fastrt.cli import main
from fastrt.datasets import DataSet, Market1501
from fastrt.evaluation.distances import cosine_distances
from fastrt.evaluation.ranking import rank
from fastrt.images.drawing import draw_person


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for folder, views in (("query", [0]), ("bounding_box_test", [0, 1, 2])):
        (root / folder).mkdir()
        for person in range(1, 9):
            for view in views:
                name = f"{person:04}_c{view + 1}s1_{'q' if folder == 'query' else 'g'}.png"
                PIL.Image.fromarray(draw_person(person, view, 80, 40)[..., ::-1]).save(root / folder / name)
    return root


@pytest.fixture(scope="module")
def people(root: Path) -> DataSet:
    return Market1501(root)


def test_scores_equal_those_of_the_embeddings(small: Small, people: DataSet) -> None:
    steps: list[int] = []
    with fastrt.load(small.engine) as session:
        scores = fastrt.evaluate(session, people, advance=steps.append)
        rows = [session([fastrt.read_image(p.path) for p in part]) for part in (people.query, people.gallery)]
    assert sum(steps) == 8 + 24
    who = [
        np.array([getattr(p, key) for p in part]) for key in ("pid", "camid") for part in (people.query, people.gallery)
    ]
    want = rank([(0, cosine_distances(*rows))], who[0], who[1], who[2], who[3])
    assert scores.figures() == pytest.approx(
        {"rank-1": want.cmc[0], "rank-5": want.cmc[4], "rank-10": want.cmc[9], "mAP": want.mAP, "mINP": want.mINP}
    )
    assert (scores.rank1, scores.mAP, scores.mINP) == (want.rank1, want.mAP, want.mINP)
    assert str(scores).startswith(f"Market-1501, cosine: rank-1 {100 * want.rank1:.2f}, rank-5 ")


def test_settings_that_need_raw_embeddings_are_refused_without(small: Small, people: DataSet, tmp_path: Path) -> None:
    with fastrt.load(small.engine) as session:
        for asked in ({"metric": "euclidean"}, {"flip": True}, {"expand": True}):
            with pytest.raises(fastrt.EvaluationError, match=r"Build an engine with --raw"):
                fastrt.evaluate(session, people, **asked)
        with pytest.raises(fastrt.EvaluationError, match="evaluate: metric 'manhattan'; expected cosine or euclidean"):
            fastrt.evaluate(session, people, metric="manhattan")  # type: ignore[arg-type]
    fastrt.build(small.network, tmp_path / "raw.xml", normalize=False)
    with fastrt.load(tmp_path / "raw.xml") as session:
        titles = {
            fastrt.evaluate(session, people, metric="euclidean").title,
            fastrt.evaluate(session, people, flip=True, expand=True).title,
            fastrt.evaluate(session, people, reranking="zhong").title,
        }
    assert titles == {
        "Market-1501, euclidean",
        "Market-1501, cosine, query expansion, flip",
        "Market-1501, cosine, re-ranking zhong",
    }


def test_mirrored_images_are_mirrored(small: Small, people: DataSet) -> None:
    paths = [image.path for image in people.query[:3]]
    with fastrt.load(small.engine) as session:
        from fastrt.extraction import embed_files

        got = embed_files(session, paths, mirrored=True).embeddings
        want = session(session.resize([fastrt.read_image(path) for path in paths])[:, :, ::-1].copy())
    assert np.allclose(got, want, atol=1e-6)


def test_an_unreadable_image_is_an_error(small: Small, root: Path, people: DataSet) -> None:
    broken = root / "query" / "0001_c9s9_broken.png"
    broken.write_text("no image")
    try:
        with (
            fastrt.load(small.engine) as session,
            pytest.raises(fastrt.EvaluationError, match="1 of 33 images cannot be read; expected all"),
        ):
            fastrt.evaluate(session, Market1501(root))
    finally:
        broken.unlink()
    assert Market1501(root) == people


def test_the_command_prints_scores_and_json(small: Small, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(small.engine), "--dataset", "market1501", "--root", str(root)]
    tries: list[tuple[list[str], int]] = [
        ([], 0),
        (["--json", "--rerank", "fastreid"], 0),
        (["--dataset", "imagenet"], 2),
        (["--false-matches", "0.05"], 0),
    ]
    for extra, code in tries:
        with pytest.raises(SystemExit) as caught:
            main([*words, *extra])
        assert (caught.value.code or 0) == code
        out, err = capsys.readouterr()
        if code:
            assert "--dataset imagenet: unknown; expected market1501" in err
        elif "--false-matches" in extra:
            beside = small.engine.with_suffix(".threshold.json")
            assert json.loads(beside.read_text())["data_set"] == "Market-1501"
            assert "false matches (95 %: " in out
        elif extra:
            assert json.loads(out)["title"] == "Market-1501, cosine, re-ranking fastreid"
        else:
            assert out.startswith("Market-1501, cosine: rank-1 ")
            assert "Do not compare the scores with published ones" in err

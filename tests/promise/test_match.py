"""`fastrt match` finds the nearest gallery images, says which show the same person, and names what it left out."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrt
from colour_engine import INFO, ColourRunner, open_session, paint
from conftest import Run
from fastrt.arrays import Array, Embeddings
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.threshold import Threshold, find_threshold, read_threshold

RED, ORANGE, GREEN, BLUE, BLACK = (200, 20, 20), (200, 90, 20), (20, 200, 20), (20, 20, 200), (0, 0, 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a query, a gallery and an engine of colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastrt.cli.match.load", open_session)
    paint(tmp_path / "query", {"red.png": RED, "green.png": GREEN})
    paint(tmp_path / "gallery", {"1.png": BLUE, "2.png": ORANGE, "3.png": RED, "4.png": GREEN, "5.png": RED})
    (tmp_path / "e.npz").write_text("colours")
    return tmp_path


def store_threshold(similarity: float) -> None:
    Threshold(similarity, 0.001, (0.0, 0.01), 0.9, (1000, 10)).save("e.npz", "Market-1501")


def cosine(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    a, b = np.array(one, float), np.array(other, float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_nearest_come_first_and_ties_in_gallery_order(run: Run, place: Path) -> None:
    done = run("match", "query", "gallery", "--engine", "e.npz", "--top", 4, "--json", "--batch", 2)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert [found["query"] for found in result["queries"]] == ["query/green.png", "query/red.png"]
    red = result["queries"][1]["matches"]
    assert [hit["image"] for hit in red] == [f"gallery/{name}.png" for name in (3, 5, 2, 1)]
    assert [hit["rank"] for hit in red] == [1, 2, 3, 4]
    want = [1, 1, cosine(RED, ORANGE), cosine(RED, GREEN)]
    np.testing.assert_allclose([hit["similarity"] for hit in red], want, atol=2e-6)
    assert {hit["same_person"] for hit in red} == {None}
    assert result["gallery"] == 5


def test_the_stored_threshold_says_who_is_the_same_person(run: Run, place: Path) -> None:
    store_threshold(0.9)
    table = run("match", "query/red.png", "gallery", "--engine", "e.npz").out
    verdicts = re.findall(r"gallery/(\d).png .*?(same person|different)", table)
    assert verdicts == [
        ("3", "same person"),
        ("5", "same person"),
        ("2", "same person"),
        ("1", "different"),
        ("4", "different"),
    ]
    assert "same person: similarity of 0.9000 or more, from e.threshold.json" in table
    result = json.loads(run("match", "query/red.png", "gallery", "--engine", "e.npz", "--json").out)
    assert result["threshold"] == 0.9
    assert [hit["same_person"] for hit in result["queries"][0]["matches"]] == [True, True, True, False, False]


def test_without_a_threshold_it_is_said(run: Run, place: Path) -> None:
    table = run("match", "query/red.png", "gallery", "--engine", "e.npz").out
    assert "no threshold of this engine in e.threshold.json; fastrt evaluate --false-matches finds one" in table
    assert "same person" not in table


def test_the_threshold_of_another_engine_is_not_used(run: Run, place: Path) -> None:
    store_threshold(0.9)
    Path("e.npz").write_text("colours in int8")  # the same network in another precision
    done = run("match", "query/red.png", "gallery", "--engine", "e.npz", "--json")
    assert done.code == 0
    assert "note: e.threshold.json: the threshold of another engine is not used; find it again" in done.err
    assert json.loads(done.out)["threshold"] is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "\x00",
        100_000 * "[",
        '{"similarity": NaN}',
        "SIMILARITY nan",
        "SIMILARITY null",
        "SIMILARITY []",
    ],
)
def test_a_damaged_threshold_is_refused(text: str, place: Path) -> None:
    store_threshold(0.9)
    path = Path("e.threshold.json")
    kind, _, value = text.partition("SIMILARITY ")
    path.write_text(kind or (path.read_text().replace("0.9,", f"{value.replace('nan', 'NaN')},", 1) if value else text))
    with pytest.raises(fastrt.EvaluationError, match=r"^e\.threshold\.json: cannot be read; expected a threshold of"):
        read_threshold("e.npz")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("similarity", 7), ("similarity", -2), ("false_matches", -3), ("false_matches", 1.5), ("found", 2),
        ("interval", [-1, 0.5]), ("pairs", [0, 10]), ("pairs", [-5, 10]), ("flip", "perhaps"),
    ],
)  # fmt: skip
def test_a_threshold_with_figures_that_cannot_be_is_refused(key: str, value: Any, place: Path) -> None:
    store_threshold(0.9)
    path = Path("e.threshold.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(fastrt.EvaluationError, match=r"^e\.threshold\.json: cannot be read; expected a threshold of"):
        read_threshold("e.npz")


def test_a_threshold_of_mirrored_images_is_not_used(run: Run, place: Path) -> None:
    for flip in (True, False):
        distances = np.linspace(0.2, 0.9, 8)[None]
        who = np.array([7]), np.repeat([7, 8], 4), np.array([0]), np.ones(8, int)
        threshold = find_threshold(Pairs(lambda d=distances: [(0, d)], *who, flip=flip), 0.25)  # type: ignore[misc]
        assert threshold.flip == flip
        threshold.save("e.npz", "Market-1501")
        done = run("match", "query", "gallery", "--engine", "e.npz", "--json")
        note = "note: e.threshold.json: the threshold of evaluate --flip is not used; find it again without --flip"
        assert (note in done.err) == flip
        assert (json.loads(done.out)["threshold"] is None) == flip


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_the_own_file_of_a_query_is_left_out_by_whatever_name(run: Run, place: Path) -> None:
    (place / "gallery" / "0.png").symlink_to("../query/red.png")
    (place / "gallery" / "00.png").hardlink_to(place / "query" / "red.png")
    (place / "gallery" / "9.png").write_bytes((place / "query" / "red.png").read_bytes())  # a copy is another image
    words = ("match", place / "query" / "red.png", "gallery", "--engine", "e.npz", "--top", 3)
    result = json.loads(run(*words, "--json").out)["queries"][0]
    assert [hit["image"] for hit in result["matches"]] == [f"gallery/{name}.png" for name in (3, 5, 9)]
    assert result["own_file_left_out"]
    assert "left out: the query's own file, for 1 of 1 queries; --own-files ranks it" in run(*words).out
    result = json.loads(run(*words, "--json", "--own-files").out)["queries"][0]
    assert [hit["image"] for hit in result["matches"]] == [f"gallery/{name}.png" for name in ("0", "00", "3")]
    assert not result["own_file_left_out"]
    alone = run("match", "query/red.png", "query/red.png", "--engine", "e.npz")
    assert alone.code == 0
    assert "no other image" in alone.out


def test_images_without_an_embedding_are_named(run: Run, place: Path) -> None:
    paint(place / "gallery", {"4.png": BLACK})
    (place / "gallery" / "2.png").write_bytes(b"nothing")
    (place / "query" / "bad.png").write_bytes(b"nothing")
    done = run("match", "query", "gallery", "--engine", "e.npz", "--json")
    assert done.code == 1
    assert "note: 2 of 8 images could not be read:" in done.err
    assert "note: 1 of 8 images have no finite embedding:" in done.err
    result = json.loads(done.out)
    assert [row["image"] for row in result["unreadable"]] == ["query/bad.png", "gallery/2.png", "gallery/4.png"]
    assert [hit["image"] for hit in result["queries"][1]["matches"]] == [f"gallery/{name}.png" for name in (3, 5, 1)]


@pytest.mark.parametrize("folder", ["query", "gallery"])
def test_nothing_readable_is_an_error(folder: str, run: Run, place: Path) -> None:
    for path in (place / folder).iterdir():
        path.write_bytes(b"nothing")
    done = run("match", "query", "gallery", "--engine", "e.npz", "--html", "m.html")
    assert done.code == 2
    assert f"images could be read; expected at least 1. First: {folder}/" in done.err
    assert not Path("m.html").exists()


def test_a_large_gallery_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The similarities of 4,000 queries to 3,000 gallery images alone would have 48 MB."""
    drawn: list[Array] = []

    class Drawn(ColourRunner):
        batch = 100

        def run(self, batch: Array) -> Embeddings:
            drawn.append(np.random.default_rng(len(drawn)).standard_normal((len(batch), 16), np.float32))
            return drawn[-1]

    monkeypatch.setattr("fastrt.engine.stream.read_resized", lambda *_: np.zeros((8, 4, 3), np.uint8))
    queries, gallery = ([Path(f"{kind}/{i}.png") for i in range(n)] for kind, n in (("q", 4000), ("g", 3000)))
    session = fastrt.Session(Drawn(INFO.model_copy(update={"embedding_dim": 16})))
    tracemalloc.start()
    try:
        found = fastrt.match(session, queries, gallery, 3)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    rows = np.concatenate(drawn).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    nearest = np.argsort(-(rows[:5] @ rows[4000:].T), axis=1)[:, :3]
    for row, places in zip(found.queries[:5], nearest.tolist(), strict=True):
        assert [hit.image for hit in row.matches] == [gallery[place] for place in places]


class Page(HTMLParser):
    """The texts, sources and classes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts, self.sources, self.tags, self.classes = list[str](), list[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]
        self.classes += [value or "" for key, value in attrs if key == "class"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_no_other_file_and_escapes_names(run: Run, place: Path) -> None:
    store_threshold(0.9)
    odd = "<script>alert('&\"').png"
    paint(place / "gallery", {odd: ORANGE})
    names = os.fsdecode(b"gallery/\xff.png")
    if os.name == "posix":
        (place / "gallery" / "2.png").rename(place / names)
    done = run("match", "query/red.png", "gallery", "--engine", "e.npz", "--html", "m.html")
    assert done.code == 0, done.err
    assert "page  m.html" in done.out
    text = Path("m.html").read_bytes().decode("utf-8")
    page = Page(text)
    assert page.classes == ["query", *4 * ["same"], "different"]
    assert len(page.sources) == 6
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "script" not in page.tags
    assert f"gallery/{odd}" in page.texts
    assert 'name="viewport"' in text
    assert "reference fp32, 8x4 to 3" in text


def test_a_page_is_never_an_image_and_is_refused_before_the_search(run: Run, place: Path) -> None:
    (place / "query" / "red.png").rename(place / "query" / "red.html")
    before = (place / "query" / "red.html").read_bytes()
    for name, reason in {
        "query/green.png": r"suffix \.png; expected \.html",
        "query/red.html": "is the input query/red.html",
        "nowhere/m.html": "folder nowhere does not exist",
    }.items():
        done = run("match", "query/red.html", "gallery", "--engine", "e.npz", "--html", name)
        assert done.code == 2
        assert re.search(f"error: {name}: {reason}", done.err)
    assert (place / "query" / "red.html").read_bytes() == before


def test_python_finds_the_same(place: Path) -> None:
    with open_session() as session:
        found = fastrt.match(session, ["query/red.png"], sorted(Path("gallery").iterdir()), 2, threshold=0.9)
        with pytest.raises(fastrt.EvaluationError, match="^match: top 0; expected at least 1"):
            fastrt.match(session, ["query/red.png"], ["gallery/1.png"], 0)
    assert [(str(hit.image), hit.same_person) for hit in found.queries[0].matches] == [
        ("gallery/3.png", True),
        ("gallery/5.png", True),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 1.5}, "match: top 1.5; expected at least 1, a whole number"),
        ({"top": "5"}, "match: top '5'"),
        ({"top": True}, "match: top True"),
        ({"threshold": float("nan")}, "match: threshold nan; expected a finite number"),
        ({"threshold": float("inf")}, "match: threshold inf"),
        ({"threshold": "0.5"}, "match: threshold '0.5'"),
    ],
)
def test_odd_options_are_refused(options: dict[str, Any], message: str, place: Path) -> None:
    with open_session() as session, pytest.raises(fastrt.EvaluationError, match=message):
        fastrt.match(session, ["query/red.png"], ["gallery/1.png"], **options)


def test_a_page_that_the_user_names_is_replaced_as_a_whole(run: Run, place: Path) -> None:
    Path("m.html").write_text(10**6 * "anything")
    done = run("match", "query/red.png", "gallery", "--engine", "e.npz", "--html", "m.html")
    assert done.code == 0, done.err
    assert Path("m.html").read_text().startswith("<!doctype html>")
    assert "anything" not in Path("m.html").read_text()
    assert "an existing file is replaced" in " ".join(run("match", "--help").out.replace("│", " ").split())

"""Outputs of `evaluate` appear whole at its end, or not at all; the report names the engine that was evaluated."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Run, Small
from fastrt.engine import stream
from fastrt.errors import OutputError
from fastrt.evaluation.report import plots
from fastrt.evaluation.report.ranks import list_ranks
from fastrt.evaluation.rerank import Reranking, rerank
from fastrt.evaluation.threshold import Threshold
from fastrt.files import check_place
from fastrt.images.drawing import draw_person

SVG = "{http://www.w3.org/2000/svg}"
NOT_UTF8 = os.fsdecode(b"\xff\xfe<b>")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people by two cameras, as a table."""
    folder = tmp_path_factory.mktemp("people")
    rows = ["path,identity,camera,role"]
    for person in range(6):
        for camera, role in ((1, "query"), (2, "gallery"), (3, "gallery")):
            name = f"{role}-{person}-{camera}.png"
            PIL.Image.fromarray(draw_person(person, camera, 64, 32)[..., ::-1]).save(folder / name)
            rows.append(f"{name},{person},{camera},{role}")
    path = folder / "people.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OLDER = {"similarity": 0.5, "false_matches": 0.1, "interval": [0.0, 0.2], "found": 0.9, "pairs": [10, 10]}


@pytest.fixture
def engine(small: Small, tmp_path: Path) -> Path:
    """An engine in a folder of its own, with a threshold that somebody found before."""
    folder = tmp_path / "engine"
    folder.mkdir()
    for path in small.engine.parent.glob("small.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "small.threshold.json").write_text(json.dumps(OLDER))
    return folder / "small.xml"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"similarity": 0.5}', "my notes", "\xff"])
def test_a_file_in_the_place_of_a_threshold_is_refused_before_the_evaluation(
    text: str, engine: Path, table: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = engine.parent / "small.threshold.json"
    place.write_text(text, "latin-1")
    before = _files(engine.parent)
    monkeypatch.setattr(stream, "read_resized", None)  # nothing is embedded
    result = run("evaluate", engine, "--dataset", "csv", "--root", table, "--false-matches", "0.1")
    assert (result.code, result.out) == (2, "")
    assert f"error: {place}: is not a threshold of fastrt evaluate; expected no other file of that name" in result.err
    with pytest.raises(OutputError, match="is not a threshold"):
        Threshold(0.5, 0.1, (0, 1), 1, (1, 1)).save(engine, "x")
    assert _files(engine.parent) == before


def test_the_threshold_of_another_engine_beside_it_is_not_replaced(engine: Path, table: Path, run: Run) -> None:
    place, other = engine.with_name("small.threshold.json"), engine.with_name("small.onnx")
    other.write_bytes(b"another engine")
    Threshold(0.5, 0.1, (0, 1), 1, (1, 1)).save(other, "x")
    before = _files(engine.parent)
    words = ("evaluate", engine, "--dataset", "csv", "--root", table, "--false-matches", "0.1")
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    assert f"error: {place}: is the threshold of {other}; expected that of {engine}. Rename one" in result.err
    assert _files(engine.parent) == before
    other.unlink()
    assert run(*words).code == 0
    assert json.loads(place.read_text())["similarity"] != 0.5


@pytest.mark.parametrize("reranking", ["fastreid", "zhong"])
def test_rank_lists_are_in_the_order_that_was_scored(reranking: Reranking, small: Small, table: Path) -> None:
    data_set = fastrt.datasets.read_data_set(table)
    with fastrt.load(small.engine) as session:
        scores = fastrt.evaluate(session, data_set, reranking=reranking)
    order = np.argsort(rerank(scores.queries, scores.gallery, reranking), axis=1, kind="stable")[:, :10]
    for i, ranked in enumerate(list_ranks(data_set, scores, range(6))):
        assert list(ranked.found) == [data_set.gallery[j] for j in order[i]]
        cosines = scores.gallery[order[i]] @ scores.queries[i]
        np.testing.assert_allclose(ranked.similarities, cosines, atol=1e-6)


UNWRITABLE = "/proc/report"
"""A folder in which nobody can create a file, whatever its permissions say."""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this host has no folder that is never writable")
def test_an_unwritable_folder_is_refused_before_the_evaluation(
    engine: Path, table: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _files(engine.parent)
    with pytest.raises(OutputError, match="cannot be written"):
        check_place(Path(UNWRITABLE))
    monkeypatch.setattr(stream, "read_resized", None)  # nothing is embedded
    words = ("evaluate", engine, "--dataset", "csv", "--root", table, "--false-matches", "0.1")
    for report in (UNWRITABLE, engine.parent, engine.parent / "nowhere" / "report", engine):
        result = run(*words, "--report", report)
        assert (result.code, result.out) == (2, "")
        assert str(report) in result.err
        assert "internal error" not in result.err
    assert _files(engine.parent) == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--roc",), "roc: 2 pairs of one identity and 0 of two; expected some of both"),
        (("--report", "report"), "roc: 2 pairs of one identity and 0 of two; expected some of both"),
        (("--false-matches", "0.1"), "threshold: 2 pairs of one person and 0 of two; expected at least 1 and 10"),
        (("--false-matches", "1"), "false matches: 1.0; expected a fraction above 0 and below 1"),
    ],
)
def test_pairs_that_are_too_few_are_named_before_the_evaluation(
    option: tuple[str, ...], message: str, engine: Path, table: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = table.with_name("one.csv")
    one.write_text("\n".join(table.read_text().splitlines()[:4]))  # one person
    monkeypatch.setattr(stream, "read_resized", None)  # nothing is embedded
    result = run("evaluate", engine, "--dataset", "csv", "--root", one, *option)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


@pytest.mark.parametrize("failing", ["draw_cmc", "write_thumbnails"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_evaluation_leaves_everything_as_it_was(
    failing: str, error: BaseException, engine: Path, table: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    before = _files(engine.parent)
    monkeypatch.setattr(f"fastrt.evaluation.report.write.{failing}", fail)
    report = engine.parent / "report"
    words = ("evaluate", engine, "--dataset", "csv", "--root", table, "--false-matches", "0.1", "--report", report)
    result = run(*words)
    assert result.code == (2 if isinstance(error, OSError) else 130)
    assert _files(engine.parent) == before
    assert not report.exists()


def test_a_threshold_that_cannot_be_written_leaves_no_report(
    engine: Path, table: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutputError("no space left on device")

    before = _files(engine.parent)
    monkeypatch.setattr("fastrt.evaluation.threshold.Threshold.save", fail)
    report = engine.parent / "report"
    words = ("evaluate", engine, "--dataset", "csv", "--root", table, "--false-matches", "0.1", "--report", report)
    assert run(*words).code == 2
    assert _files(engine.parent) == before
    monkeypatch.undo()
    assert run(*words).code == 0
    assert (report / "index.html").is_file()
    assert json.loads((engine.parent / "small.threshold.json").read_text())["data_set"] == "people"


class _Page(HTMLParser):
    """The parts of a page: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(small: Small, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_set = fastrt.datasets.read_data_set(table)
    with fastrt.load(small.engine) as session:
        scores = fastrt.evaluate(session, data_set)
        from fastrt.evaluation.report import write_report

        return write_report(tmp_path_factory.mktemp("reports") / "report", scores, data_set, session.info, small.engine)


def test_a_report_says_which_engine_was_evaluated_when_and_by_what(page: Path, small: Small) -> None:
    text = _Page(page.read_text("utf-8")).text
    info = fastrt.describe(small.engine)
    for part in ("small.xml", f"openvino {info.built_with}", "fp32", small.network.fingerprint(), "64x32 pixels"):
        assert part in text
    assert f"by fastrt {fastrt.__version__}" in text
    now = datetime.now(timezone.utc)
    assert re.search(r"Written (\d{4}-\d\d-\d\d) \d\d:\d\d UTC", text)
    assert any((now - timedelta(days)).strftime("%Y-%m-%d") in text for days in (0, 1))


def test_a_report_fits_a_telephone(page: Path) -> None:
    text = page.read_text("utf-8")
    tags = _Page(text).tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags
    assert "minmax(min(100%, 22rem), 1fr)" in text
    assert ".ranks { display: flex; flex-wrap: wrap" in text
    assert "overflow-wrap: anywhere" in text
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert all(attributes["alt"] for attributes in images)
    assert not any({"width", "height", "style"} & attributes.keys() for attributes in images)
    for attributes in images:
        path = page.parent / str(attributes["src"])
        if path.suffix != ".svg":
            with PIL.Image.open(path) as image:
                assert image.width <= 256  # narrower than 390 pixels


def test_plots_are_vectors_that_need_nothing_from_elsewhere(page: Path) -> None:
    for name in plots_of(page):
        root = ET.parse(page.parent / name).getroot()
        assert root.tag == f"{SVG}svg"
        assert "viewBox" in root.attrib
        assert not list(root.iter(f"{SVG}image"))  # no pixels
        for element in root.iter():
            for key, value in element.attrib.items():
                assert not (key.endswith("href") and not value.startswith("#"))


def plots_of(page: Path) -> list[str]:
    found = re.findall(r'src="([^"]+\.svg)"', page.read_text("utf-8"))
    assert found == ["cmc.svg", "roc.svg", "distances.svg"]
    return found


@pytest.mark.parametrize("values", [[0.93, 0.97, 0.98, 0.98], [1.0, 1.0], [0.0, 0.2], [0.5], [0.999, 0.9995]])
def test_the_axes_of_a_plot_show_how_its_values_differ(
    values: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    limits: list[tuple[float, float]] = []
    plain = Axes.set

    def spy(self: Axes, **settings: object) -> object:
        done = plain(self, **settings)
        limits.append(self.get_ylim())
        return done

    monkeypatch.setattr(Axes, "set", spy)
    plots.draw_cmc(np.array(values), tmp_path / "cmc.svg")
    plots.draw_roc(np.linspace(0.1, 1, len(values)), np.array(values), tmp_path / "roc.svg")
    assert len(limits) == 2
    for low, high in limits:
        assert low < 100 * min(values) <= 100 < high
        assert high - low <= max(1.2 * (100 - 100 * min(values)), 2)


def test_names_that_are_not_utf8_are_escaped_on_the_page(small: Small, table: Path, tmp_path: Path, run: Run) -> None:
    root = tmp_path / "Market"
    for folder, cameras in (("query", (1,)), ("bounding_box_test", (2, 3))):
        (root / folder).mkdir(parents=True)
        for person in range(6):
            for camera in cameras:
                source = table.parent / f"{'query' if camera == 1 else 'gallery'}-{person}-{camera}.png"
                (root / folder / f"{person:04}_c{camera}_{NOT_UTF8}.png").write_bytes(source.read_bytes())
    words = ("evaluate", small.engine, "--dataset", "market1501", "--root", root)
    report = tmp_path / "report"
    result = run(*words, "--report", report)
    assert result.code == 0, result.err
    text = (report / "index.html").read_bytes().decode("utf-8")
    assert r"_c1_\udcff\udcfe&lt;b&gt;.png" in text


def test_a_data_set_whose_own_name_is_not_utf8_is_evaluated(
    engine: Path, table: Path, tmp_path: Path, run: Run
) -> None:
    odd = table.with_name(f"{NOT_UTF8}.csv")
    odd.write_bytes(table.read_bytes())
    try:
        words = ("evaluate", engine, "--dataset", "csv", "--root", odd, "--false-matches", "0.1")
        result = run(*words, "--report", tmp_path / "report")
    finally:
        odd.unlink()
    assert result.code == 0, result.err
    assert json.loads((engine.parent / "small.threshold.json").read_text())["data_set"] == NOT_UTF8
    assert r"<h1>\udcff\udcfe&lt;b&gt;, cosine</h1>" in (tmp_path / "report" / "index.html").read_text("utf-8")

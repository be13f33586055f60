"""The report, read as text and, if installed, by a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Small
from fastrt.datasets import DataSet
from fastrt.datasets.synthetic import Synthetic, write_synthetic
from fastrt.evaluation.evaluate import Scores
from fastrt.evaluation.ranking import NEAREST
from fastrt.evaluation.report import write_report
from fastrt.evaluation.report.ranks import list_ranks

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def evaluated(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[DataSet, Scores, Path]:
    root = write_synthetic(tmp_path_factory.mktemp("data") / "drawn", train=1, test=10, distractors=5, cameras=4)
    data_set = Synthetic(root)
    with fastrt.load(small.engine) as session:
        scores = fastrt.evaluate(session, data_set)
        page = write_report(root.parent / "report", scores, data_set, session.info, small.engine)
    return data_set, scores, page


def test_the_page_has_the_scores_and_all_images(
    evaluated: tuple[DataSet, Scores, Path],
) -> None:
    _, scores, page = evaluated
    text = page.read_text("utf-8")
    for name, value in scores.figures().items():
        assert f"<tr><td>{name}</td><td>{100 * value:.2f}</td></tr>" in text
    names = re.findall(r'src="([^"]+)"', text)
    plots = [name for name in names if name.endswith(".svg")]
    assert plots == ["cmc.svg", "roc.svg", "distances.svg"]
    files = {str(path.relative_to(page.parent)) for path in page.parent.rglob("*") if path.is_file()}
    assert files == {"index.html", *names}
    for name in {*names} - {*plots}:
        with PIL.Image.open(page.parent / name) as image:
            assert image.height == 128
    assert "http" not in text  # nothing is fetched


def test_rank_lists_are_ordered_by_distance_without_junk(evaluated: tuple[DataSet, Scores, Path]) -> None:
    data_set, scores, _ = evaluated
    for i, ranked in enumerate(list_ranks(data_set, scores, range(4))):
        distances = 1 - scores.gallery @ scores.queries[i]
        order = [data_set.gallery[j] for j in np.argsort(distances, kind="stable")]
        query = data_set.query[i]
        want = [p for p in order if not (p.pid == query.pid and p.camid == query.camid)][:NEAREST]
        assert list(ranked.found) == want
        assert ranked.right == tuple(p.pid == query.pid for p in want)
        assert ranked.similarities == pytest.approx([1 - distances[data_set.gallery.index(p)] for p in want], abs=1e-6)


def test_a_report_is_written_whole_to_a_new_folder(
    evaluated: tuple[DataSet, Scores, Path], small: Small, tmp_path: Path
) -> None:
    data_set, scores, page = evaluated
    info = fastrt.describe(small.engine)
    with pytest.raises(fastrt.OutputError, match="report: exists; expected a new folder"):
        write_report(page.parent, scores, data_set, info, small.engine)
    with pytest.raises(fastrt.OutputError, match="nowhere does not exist"):
        write_report(tmp_path / "nowhere" / "report", scores, data_set, info, small.engine)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_shows_the_page(evaluated: tuple[DataSet, Scores, Path], tmp_path: Path) -> None:
    _, scores, page = evaluated
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    script = page.with_name("check.html")
    script.write_text(
        "<iframe src='index.html' width=1000 height=3000></iframe><script>onload = () => {"
        "const d = document.querySelector('iframe').contentDocument;"
        "document.title = [...d.images].filter(i => i.naturalWidth > 0).length + ' of ' + d.images.length"
        " + ' images, ' + d.querySelectorAll('#scores tr').length + ' rows'}</script>"
    )
    options = [*flags, f"--user-data-dir={tmp_path / 'profile'}", "--allow-file-access-from-files"]
    try:
        done = subprocess.run(
            [BROWSER, *options, "--virtual-time-budget=5000", "--dump-dom", script.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    finally:
        script.unlink()
    count = page.read_text("utf-8").count("<img ")
    assert f"<title>{count} of {count} images, {1 + len(scores.figures())} rows</title>" in done.stdout

"""Writes the HTML page of a report and its images."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.resources import files
from itertools import chain
from pathlib import Path

import numpy as np

from fastrt.datasets.base import DataSet
from fastrt.errors import OutputError, TargetError
from fastrt.evaluation.evaluate import Scores
from fastrt.evaluation.report.plots import draw_cmc, draw_distances, draw_roc
from fastrt.evaluation.report.ranks import list_ranks, write_thumbnails
from fastrt.evaluation.roc import verification_curve
from fastrt.files import ESCAPED, check_place, written_whole
from fastrt.targets.engine_info import EngineInfo
from fastrt.version import __version__

PLOTS = {
    "cmc": "fraction of queries with a true match up to rank k",
    "roc": "fraction of pairs of one person found, against the fraction of false matches",
    "distances": "distances of pairs of one person and of different people",
}
EDGES = np.linspace(-0.01, 2.01, 203)
"""Bins of the histogram of cosine distances, 0.01 wide, with one more on each side for rounding errors."""

LISTED = 8
"""Number of best and of worst queries that are shown."""


def write_report(
    folder: str | os.PathLike[str],
    scores: Scores,
    data_set: DataSet,
    info: EngineInfo,
    engine: str | os.PathLike[str],
) -> Path:
    """Write a folder with ``index.html`` and its images.

    Args:
        folder: output folder; it must not exist.
        scores: result of `fastrt.evaluate`.
        data_set: the evaluated data set.
        info: description of the engine.
        engine: the engine's file, whose name is shown.

    Returns:
        The path of the page.

    Raises:
        OutputError: the folder exists, or cannot be written.
        TargetError: matplotlib or jinja2 is not installed.
        EvaluationError: there is no pair of one identity, or none of two identities.
    """
    with report_written(folder, scores, data_set, info, engine) as page:
        return page


@contextmanager
def report_written(
    folder: str | os.PathLike[str],
    scores: Scores,
    data_set: DataSet,
    info: EngineInfo,
    engine: str | os.PathLike[str],
) -> Iterator[Path]:
    """Write a report as `write_report` does, but let it appear only when the block ends without error."""
    folder = Path(folder)
    check_report(folder)
    with written_whole(folder) as new_folder:
        _write(new_folder, scores, data_set, _describe(info, Path(engine)))
        yield folder / "index.html"


def check_libraries() -> None:
    """Raise `TargetError` if matplotlib or jinja2 is missing."""
    for library in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(library) is None:
            raise TargetError(
                f"report: {library} is not installed; expected {library}. Run pip install 'fastrt[report]'."
            )


def check_report(folder: Path) -> None:
    """Raise the errors of `write_report` that are known before the evaluation."""
    check_libraries()
    if os.path.lexists(folder):
        raise OutputError(f"{folder}: exists; expected a new folder for the report. Name another one.")
    check_place(folder)


def _describe(info: EngineInfo, engine: Path) -> dict[str, str]:
    """Describe an engine as rows of a table."""
    height, width = info.image_size
    rows = {
        "file": engine.name,
        "target": " ".join(filter(None, (info.target, info.built_with))),
        "precision": info.precision,
        "input": f"{height}x{width} pixels, {info.io}, resized by {info.resampler}",
        "embedding": f"{info.embedding_dim} values{', of unit length' if info.normalized else ''}",
        "fingerprint": info.fingerprint,
        "calibration": info.calibration,
        "built for": info.device,
        "built by": None if info.fastrt is None else f"fastrt {info.fastrt}",
    }
    return {name: value for name, value in rows.items() if value is not None}


def _write(folder: Path, scores: Scores, data_set: DataSet, engine: Mapping[str, str]) -> None:
    import jinja2

    folder.mkdir()
    pairs = scores.pairs
    draw_cmc(scores.cmc, folder / "cmc.svg")
    draw_roc(*verification_curve(pairs), folder / "roc.svg")
    nearer, _ = pairs.count_different(EDGES)
    draw_distances(EDGES, np.histogram(pairs.same, EDGES)[0], np.diff(nearer), folder / "distances.svg")
    # Queries without a true match have NaN, which sorts last.
    order = np.argsort(scores.average_precision, kind="stable")[: scores.valid].tolist()
    ranks = {
        "worst": list_ranks(data_set, scores, order[:LISTED]),
        "best": list_ranks(data_set, scores, order[::-1][:LISTED]),
    }
    thumbnails = write_thumbnails(chain(*ranks.values()), folder / "images")
    text = (files("fastrt.evaluation.report") / "page.html.j2").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)
    page = template.render(
        scores=scores,
        data_set=data_set,
        engine=engine,
        plots=PLOTS,
        ranks=ranks,
        thumbnails=thumbnails,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )
    (folder / "index.html").write_text(page, "utf-8", ESCAPED)

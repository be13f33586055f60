"""Write the page and its pictures."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.datasets.base import DataSet
from fastrt.errors import OutputError, TargetError
from fastrt.evaluation.evaluate import Scores
from fastrt.evaluation.report.plots import draw_cmc, draw_distances, draw_roc
from fastrt.evaluation.report.ranks import draw_ranks, list_ranks
from fastrt.evaluation.roc import check_pairs, verification_curve
from fastrt.targets.engine_info import EngineInfo

PLOTS = {
    "cmc": "which part of the queries has a true match among the first so many",
    "roc": "which part of same people is found against which part of different people is taken for the same",
    "distances": "distances of pictures of the same and of different people",
}
EDGES = np.linspace(-0.01, 2.01, 203)
"""Between which distances pairs are counted: a hundredth each, and what rounding puts below 0 or above 2."""

LISTED = 8
"""Queries shown of the best, and of the worst."""


def write_report(folder: str | os.PathLike[str], scores: Scores, data_set: DataSet, info: EngineInfo) -> Path:
    """Write a folder with ``index.html`` and the pictures that it shows; it opens without a network.

    Args:
        folder: is made; it must not exist yet.
        scores: what `fastrt.evaluate` found.
        data_set: what it was found on.
        info: of the engine.

    Returns:
        The page.

    Raises:
        OutputError: the folder exists, or cannot be written.
        TargetError: matplotlib or jinja2 is not installed.
        EvaluationError: no pair of one identity, or of two.
    """
    folder = Path(folder)
    check_report(folder)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            _write(Path(temporary) / folder.name, scores, data_set, info)
            (Path(temporary) / folder.name).replace(folder)
    except OSError as error:
        raise OutputError(f"cannot write a report to {folder}: {error.strerror or error}") from error
    return folder / "index.html"


def check_libraries() -> None:
    """Raise `TargetError` if a library is missing that reports need."""
    for library in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(library) is None:
            raise TargetError(f"{library} is not installed; for reports: pip install 'fastrt[report]'")


def check_report(folder: Path) -> None:
    """Raise what `write_report` would, for a folder or a library: before an evaluation that would be lost."""
    check_libraries()
    if folder.exists():
        raise OutputError(f"cannot write a report to {folder}: it exists; name a folder that does not")
    if not folder.parent.is_dir():
        raise OutputError(f"cannot write a report to {folder}: there is no folder {folder.parent}; make it first")


def _write(folder: Path, scores: Scores, data_set: DataSet, info: EngineInfo) -> None:
    folder.mkdir()
    pairs = scores.pairs
    check_pairs(pairs)
    draw_cmc(scores.cmc, folder / "cmc.png")
    draw_roc(*verification_curve(pairs), folder / "roc.png")
    nearer, _ = pairs.count_different(EDGES)
    draw_distances(EDGES, np.histogram(pairs.same, EDGES)[0], np.diff(nearer), folder / "distances.png")
    precision = scores.ranking.average_precision
    # Queries without a true match have none, and come last.
    order = np.argsort(precision, kind="stable")[: scores.ranking.valid].tolist()
    worst, best = order[:LISTED], order[::-1][:LISTED]
    ranks = {"worst": list_ranks(data_set, scores, worst), "best": list_ranks(data_set, scores, best)}
    for name, part in ranks.items():
        draw_ranks(part, folder / f"{name}.png")
    height, width = info.image_size
    page = _template().render(
        title=scores.title,
        engine=f"{info.target} {info.precision or ''}, {height}x{width} to {info.embedding_dim}",
        queries=len(data_set.query),
        gallery=len(data_set.gallery),
        valid=scores.ranking.valid,
        notes=data_set.notes,
        figures=scores.figures(),
        plots=PLOTS,
        ranks=ranks,
    )
    (folder / "index.html").write_text(page, "utf-8")


def _template() -> Any:
    import jinja2

    text = (files("fastrt.evaluation.report") / "page.html.j2").read_text("utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)

"""Output files of an evaluation: checked before it, and written together after it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from fastrt.datasets.base import DataSet
from fastrt.evaluation.evaluate import Scores
from fastrt.evaluation.report import check_report, report_written
from fastrt.evaluation.threshold import Threshold, check_rate, threshold_path
from fastrt.files import check_place
from fastrt.targets.engine_info import EngineInfo


def check_outputs(engine: Path, false_matches: float | None, report: Path | None) -> None:
    """Raise the errors of `write_outputs` that are known before the evaluation."""
    if report is not None:
        check_report(report)
    if false_matches is not None:
        check_rate(false_matches)
        check_place(threshold_path(engine))


def write_outputs(
    engine: Path,
    info: EngineInfo,
    scores: Scores,
    data_set: DataSet,
    *,
    threshold: Threshold | None = None,
    report: Path | None = None,
) -> dict[str, Path]:
    """Write the threshold beside the engine, and the report into a new folder; if one fails, none appears.

    Returns:
        The files by name: ``threshold_file`` and ``report``, as far as they were asked for.

    Raises:
        OutputError: a file cannot be written, or the report's folder exists.
        TargetError: a library that reports need is not installed.
        EvaluationError: there are not enough pairs for the report's curves.
    """
    files: dict[str, Path] = {}
    with ExitStack() as stack:
        if report is not None:
            files["report"] = stack.enter_context(report_written(report, scores, data_set, info, engine))
        if threshold is not None:
            files["threshold_file"] = threshold.save(engine, data_set.name, info.fingerprint)
    return files

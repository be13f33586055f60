"""Output files of an evaluation: checked before it, and written together after it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from fastrt.datasets.base import DataSet
from fastrt.evaluation.evaluate import Scores
from fastrt.evaluation.labels import check_labels, count_pairs, number_labels
from fastrt.evaluation.report import check_report, report_written
from fastrt.evaluation.roc import check_curve
from fastrt.evaluation.threshold import Threshold, check_pairs, check_rate, check_stored
from fastrt.targets.engine_info import EngineInfo


def check_options(false_matches: float | None, report: Path | None) -> None:
    """Raise the errors of `find_threshold` and `write_outputs` that do not depend on engine and data set."""
    if report is not None:
        check_report(report)
    if false_matches is not None:
        check_rate(false_matches)


def check_outputs(
    engine: Path, data_set: DataSet, *, roc: bool, false_matches: float | None, report: Path | None
) -> None:
    """Raise the errors of `measure_roc`, `find_threshold` and `write_outputs` that are known before the evaluation.

    Args:
        engine: the engine's file.
        data_set: the data set to evaluate.
        roc: whether true positive rates are asked for.
        false_matches: the fraction of false matches of the threshold, if one is asked for.
        report: the folder of the report, if one is asked for.
    """
    check_options(false_matches, report)
    labels = number_labels(data_set.query, data_set.gallery)
    check_labels(labels)
    pairs = count_pairs(labels)
    if roc or report is not None:
        check_curve(*pairs)
    if false_matches is not None:
        check_pairs(false_matches, *pairs)
        check_stored(engine)


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
            files["threshold_file"] = threshold.save(engine, data_set.name)
    return files

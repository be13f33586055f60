"""Runs the whole pipeline with a trained checkpoint: calibrate, build, verify, and evaluate each precision."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path

from fastrt.building import build
from fastrt.datasets.base import DataSet
from fastrt.datasets.people import Synthetic
from fastrt.datasets.synthetic import write_synthetic
from fastrt.demo.folder import filled_whole
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Report
from fastrt.engine.load import describe, engine_size, load
from fastrt.engine.verify import verify
from fastrt.errors import TargetError
from fastrt.evaluation.evaluate import Scores, evaluate
from fastrt.evaluation.report import check_libraries, write_report
from fastrt.images.sample import ImageSample, read_images
from fastrt.ir.network import Network
from fastrt.models.load import Model, load_model
from fastrt.models.reid import build_network
from fastrt.quantization.calibrate import calibrate
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Precision
from fastrt.targets.registry import find_target
from fastrt.timing.interleaved import compare_speed

logger = logging.getLogger("fastrt")

MODEL = "model.safetensors"
SEED = 1
"""Seed of the images. The model was trained with seed 0, so these people and cameras are new to it."""

PEOPLE, DISTRACTORS = 40, 100
CALIBRATION_PEOPLE = 12
"""People whose images are used for calibration only."""
CALIBRATED = 128
"""Number of calibration images."""

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")

Advance = Callable[[str, int, int], None]
"""Callback for progress: phase, steps done and total steps."""


@dataclass(frozen=True, eq=False)
class Row:
    """Result of one engine.

    Attributes:
        precision: of the engine.
        engine: its path.
        bytes: size of all files of the engine.
        scores: result of its evaluation.
        similarity: lowest mean-centred cosine to the fp32 embedding of a gallery image.
        images_s: images per second by batch size, without decoding and resizing; empty if they were not measured.
    """

    precision: Precision
    engine: Path
    bytes: int
    scores: Scores
    similarity: float
    images_s: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Demonstration:
    """Result of the demonstration.

    Attributes:
        report: the verification report of the first engine.
        data_set: the drawn people.
        rows: one for each engine.
        page: the evaluation report of the first engine; None if the packages of reports are not installed.
    """

    report: Report
    data_set: DataSet
    rows: tuple[Row, ...]
    page: Path | None


def demonstrate(folder: Path, target: str = "openvino", advance: Advance = lambda *_: None) -> Demonstration:
    """Run the demonstration in ``folder``, which is new or empty; its files appear all together at the end.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
        TargetError: the target is not installed.
    """
    find_target(target).precisions()
    has_reports = _has_reports()
    with filled_whole(folder) as new_folder:
        images = new_folder / "images"
        draw(images, PEOPLE, DISTRACTORS, advance)
        with as_file(files("fastrt.demo") / MODEL) as checkpoint:
            shutil.copy(checkpoint, new_folder / MODEL)
        model = load_model(new_folder / MODEL)
        network = build_network(model.spec, model.weights)
        table = calibrate_on(network, images, advance)
        table.save(new_folder / "calibration.json")
        data_set = Synthetic(images)
        rows = compare(network, table, data_set, new_folder, target, advance=advance)
        rows = add_speeds(rows, data_set, advance)
        with load(rows[0].engine) as session:
            report = verify(session, network)
        if has_reports:
            advance("writing the report", 0, 1)
            first = rows[0]
            write_report(new_folder / "report", first.scores, data_set, describe(first.engine), first.engine)
    return Demonstration(
        report,
        Synthetic(folder / "images"),
        tuple(replace(row, engine=folder / row.engine.name) for row in rows),
        folder / "report" / "index.html" if has_reports else None,
    )


def _has_reports() -> bool:
    """Return True if reports can be written; log a warning if not."""
    try:
        check_libraries()
    except TargetError as error:
        logger.warning("no report is written: %s", error)
        return False
    return True


def load_demo_model() -> Model:
    """Load the checkpoint that is part of fastrt; see its model card."""
    with as_file(files("fastrt.demo") / MODEL) as path:
        return load_model(path)


def draw(folder: Path, people: int, distractors: int, advance: Advance = lambda *_: None) -> None:
    """Draw people for evaluation, and some for calibration."""
    count = _count(advance, "drawing people", CALIBRATION_PEOPLE + people)
    write_synthetic(folder, train=CALIBRATION_PEOPLE, test=people, distractors=distractors, seed=SEED, advance=count)


def calibrate_on(network: Network, images: Path, advance: Advance = lambda *_: None) -> CalibrationTable:
    """Make a calibration table from images that are not used for evaluation."""
    sample = ImageSample(list((images / "bounding_box_train").iterdir()), CALIBRATED)
    return calibrate(network, sample, advance=_count(advance, "calibrating", CALIBRATED))


def _count(advance: Advance, phase: str, steps: int) -> Callable[[int], None]:
    """Make a callback that takes the number of steps done since the last call."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        advance(phase, done, steps)

    return count


def compare(
    network: Network,
    table: CalibrationTable,
    data_set: DataSet,
    folder: Path,
    target: str,
    options: BuildOptions | None = None,
    advance: Advance = lambda *_: None,
) -> tuple[Row, ...]:
    """Build an engine in each precision of the target, fp32 first, and evaluate it.

    Raises as `fastrt.build` and `fastrt.evaluate` do.
    """
    have, suffix = find_target(target).precisions(), find_target(target).suffix
    paths = {precision: folder / f"demo-{precision}{suffix}" for precision in PRECISIONS if precision in have}
    count = _count(advance, "building and evaluating engines", len(paths))
    count(0)
    rows: list[Row] = []
    for precision, path in paths.items():
        build(network, path, precision=precision, options=options, table=table if precision == "int8" else None)
        rows.append(score(precision, path, data_set, rows[0].scores if rows else None))
        count(1)
    return tuple(rows)


def score(precision: Precision, engine: Path, data_set: DataSet, exact: Scores | None = None) -> Row:
    """Evaluate an engine, and compare its embeddings of the gallery with ``exact``, the fp32 engine's.

    Raises as `fastrt.evaluate` does.
    """
    with load(engine) as session:
        scores = evaluate(session, data_set)
    wanted = (exact or scores).gallery
    similarity = float(centred_cosines(scores.gallery, wanted).min())
    return Row(precision, engine, engine_size(engine), scores, similarity)


def add_speeds(rows: Sequence[Row], data_set: DataSet, advance: Advance = lambda *_: None) -> tuple[Row, ...]:
    """Time the engines in alternating rounds, on images of the data set."""
    with ExitStack() as stack:
        sessions = {row.precision: stack.enter_context(load(row.engine)) for row in rows}
        images = read_images([query.path for query in data_set.query[:8]])
        speeds = compare_speed(sessions, sessions["fp32"].resize(images), advance)
    return tuple(replace(row, images_s=speeds[row.precision]) for row in rows)

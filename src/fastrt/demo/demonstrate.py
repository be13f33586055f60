"""Runs the whole pipeline with a trained checkpoint: calibrate, build, verify, and evaluate each precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from fastrt.building import build
from fastrt.datasets.base import DataSet
from fastrt.datasets.synthetic import Synthetic, write_synthetic
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Report
from fastrt.engine.load import engine_size, load
from fastrt.engine.verify import verify
from fastrt.errors import OutputError
from fastrt.evaluation.evaluate import Scores, evaluate
from fastrt.images.sample import ImageSample, read_images
from fastrt.ir.network import Network
from fastrt.models.load import Model, load_model
from fastrt.quantization.calibrate import calibrate
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Precision
from fastrt.targets.registry import find_target
from fastrt.timing.interleaved import compare_speed

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
        bytes: size of all files of the engine.
        scores: result of its evaluation.
        similarity: lowest mean-centred cosine to the fp32 embedding of a gallery image.
        images_s: images per second by batch size, without decoding and resizing.
    """

    precision: Precision
    bytes: int
    scores: Scores
    similarity: float
    images_s: dict[int, float]


@dataclass(frozen=True, eq=False)
class Demonstration:
    """Result of the demonstration: engines, the verification report of the first, the data set, and one row each."""

    engines: tuple[Path, ...]
    report: Report
    data_set: DataSet
    rows: tuple[Row, ...]


def demonstrate(folder: Path, target: str = "openvino", advance: Advance = lambda *_: None) -> Demonstration:
    """Run the demonstration in ``folder``, which is created or empty.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
        TargetError: the target is not installed.
    """
    find_target(target).precisions()
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder}: is not empty; expected an empty or a new folder. Name another one.")
    images = folder / "pictures"
    draw(images, PEOPLE, DISTRACTORS, advance)
    with as_file(files("fastrt.demo") / MODEL) as model:
        shutil.copy(model, folder / MODEL)
    network = load_model(folder / MODEL).network()
    table = calibrate_on(network, images, advance)
    table.save(folder / "calibration.json")
    data_set = Synthetic(images)
    rows = compare(network, table, data_set, folder, target, advance=advance)
    engines = tuple(engine_path(folder, target, row.precision) for row in rows)
    with load(engines[0]) as session:
        report = verify(session, network)
    return Demonstration(engines, report, data_set, rows)


def load_demo_model() -> Model:
    """Load the checkpoint that is part of fastrt; see its model card."""
    with as_file(files("fastrt.demo") / MODEL) as path:
        return load_model(path)


def draw(folder: Path, people: int, distractors: int, advance: Advance = lambda *_: None) -> None:
    """Draw people for evaluation, and some for calibration."""
    done, total = 0, CALIBRATION_PEOPLE + people

    def count(more: int) -> None:
        nonlocal done
        done += more
        advance("drawing people", done, total)

    write_synthetic(folder, train=CALIBRATION_PEOPLE, test=people, distractors=distractors, seed=SEED, advance=count)


def calibrate_on(network: Network, images: Path, advance: Advance = lambda *_: None) -> CalibrationTable:
    """Make a calibration table from images that are not used for evaluation."""
    sample = ImageSample(list((images / "bounding_box_train").iterdir()), CALIBRATED)
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        advance("calibrating", done, CALIBRATED)

    return calibrate(network, sample, advance=count)


def engine_path(folder: Path, target: str, precision: str) -> Path:
    """Return the path of an engine."""
    return folder / f"demo-{precision}{find_target(target).suffix}"


def compare(
    network: Network,
    table: CalibrationTable,
    data_set: DataSet,
    folder: Path,
    target: str,
    options: BuildOptions | None = None,
    advance: Advance = lambda *_: None,
) -> tuple[Row, ...]:
    """Build an engine in each precision of the target, fp32 first, and evaluate and time them.

    Raises as `fastrt.build` and `fastrt.evaluate` do.
    """
    have = find_target(target).precisions()
    precisions = [precision for precision in PRECISIONS if precision in have]
    paths = {precision: engine_path(folder, target, precision) for precision in precisions}
    scores: dict[Precision, Scores] = {}
    for i, (precision, path) in enumerate(paths.items()):
        advance("building and evaluating engines", i, len(paths))
        build(network, path, precision=precision, options=options, table=table if precision == "int8" else None)
        with load(path) as session:
            scores[precision] = evaluate(session, data_set)
    advance("building and evaluating engines", len(paths), len(paths))
    sessions = {precision: load(path) for precision, path in paths.items()}
    try:
        images = read_images([query.path for query in data_set.query[:8]])
        speeds = compare_speed(sessions, sessions["fp32"].resize(images), advance)
    finally:
        for session in sessions.values():
            session.close()
    rows = partial(_make_row, scores["fp32"])
    return tuple(rows(p, paths[p], scores[p], speeds[p]) for p in precisions)


def _make_row(fp32: Scores, precision: Precision, path: Path, scores: Scores, images_s: dict[int, float]) -> Row:
    similarity = float(centred_cosines(scores.gallery, fp32.gallery).min())
    return Row(precision, engine_size(path), scores, similarity, images_s)

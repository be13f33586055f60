"""Runs the whole pipeline with a trained checkpoint: calibrate, build, verify, and evaluate each precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from fastrt.building import build
from fastrt.datasets.base import DataSet
from fastrt.datasets.people import Synthetic
from fastrt.datasets.synthetic import write_synthetic
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
        engine: its path.
        bytes: size of all files of the engine.
        scores: result of its evaluation.
        similarity: lowest mean-centred cosine to the fp32 embedding of a gallery image.
        images_s: images per second by batch size, without decoding and resizing.
    """

    precision: Precision
    engine: Path
    bytes: int
    scores: Scores
    similarity: float
    images_s: dict[int, float]


@dataclass(frozen=True, eq=False)
class Demonstration:
    """Result of the demonstration: the data set, one row for each engine, and the verification report of the first."""

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
    images = folder / "images"
    draw(images, PEOPLE, DISTRACTORS, advance)
    with as_file(files("fastrt.demo") / MODEL) as model:
        shutil.copy(model, folder / MODEL)
    network = load_model(folder / MODEL).network()
    table = calibrate_on(network, images, advance)
    table.save(folder / "calibration.json")
    data_set = Synthetic(images)
    rows = compare(network, table, data_set, folder, target, advance=advance)
    with load(rows[0].engine) as session:
        report = verify(session, network)
    return Demonstration(report, data_set, rows)


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
    """Build an engine in each precision of the target, fp32 first, and evaluate and time them.

    Raises as `fastrt.build` and `fastrt.evaluate` do.
    """
    have, suffix = find_target(target).precisions(), find_target(target).suffix
    paths = {precision: folder / f"demo-{precision}{suffix}" for precision in PRECISIONS if precision in have}
    scores: dict[Precision, Scores] = {}
    count = _count(advance, "building and evaluating engines", len(paths))
    count(0)
    for precision, path in paths.items():
        build(network, path, precision=precision, options=options, table=table if precision == "int8" else None)
        with load(path) as session:
            scores[precision] = evaluate(session, data_set)
        count(1)
    with ExitStack() as stack:
        sessions = {precision: stack.enter_context(load(path)) for precision, path in paths.items()}
        images = read_images([query.path for query in data_set.query[:8]])
        speeds = compare_speed(sessions, sessions["fp32"].resize(images), advance)
    wanted = scores["fp32"].gallery
    return tuple(
        Row(p, path, engine_size(path), scores[p], float(centred_cosines(scores[p].gallery, wanted).min()), speeds[p])
        for p, path in paths.items()
    )

"""From a trained checkpoint to figures that can be compared: built, verified, calibrated, scored in each precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from fastrt.datasets.base import DataSet
from fastrt.datasets.synthetic import Synthetic, write_synthetic
from fastrt.engine.build import build
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
"""Of the pictures. The model was trained on those of seed 0: it knows neither these people nor these cameras."""

PEOPLE, DISTRACTORS = 40, 100
LEARNERS = 12
"""People for calibration, whom nothing is scored on, and how many of their pictures are looked at."""
CALIBRATED = 128

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")

Advance = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""


@dataclass(frozen=True, eq=False)
class Row:
    """One engine.

    Attributes:
        precision: that it was built in.
        bytes: its size, all files.
        scores: what it finds.
        similarity: least mean-centred cosine to fp32, of any picture.
        images_s: images a second by batch, the network alone.
    """

    precision: Precision
    bytes: int
    scores: Scores
    similarity: float
    images_s: dict[int, float]


@dataclass(frozen=True, eq=False)
class Demonstration:
    """What the demonstration made in its folder: engines, the report on the first of them, and their scores."""

    engines: tuple[Path, ...]
    report: Report
    data_set: DataSet
    rows: tuple[Row, ...]


def demonstrate(folder: Path, target: str = "openvino", advance: Advance = lambda *_: None) -> Demonstration:
    """Go the whole way in ``folder``, which is made, or is empty.

    Raises:
        OutputError: something is in it, or it cannot be written to.
        TargetError: the target is not installed.
    """
    find_target(target).precisions()
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; name a folder that is, or that does not exist yet")
    pictures = folder / "pictures"
    draw(pictures, PEOPLE, DISTRACTORS, advance)
    with as_file(files("fastrt.demo") / MODEL) as model:
        shutil.copy(model, folder / MODEL)
    network = load_model(folder / MODEL).network()
    table = learn(network, pictures, advance)
    table.save(folder / "calibration.json")
    data_set = Synthetic(pictures)
    rows = compare(network, table, data_set, folder, target, advance=advance)
    engines = tuple(engine_path(folder, target, row.precision) for row in rows)
    with load(engines[0]) as session:
        report = verify(session, network)
    return Demonstration(engines, report, data_set, rows)


def load_demo_model() -> Model:
    """The checkpoint that comes with fastrt; see the card beside it."""
    with as_file(files("fastrt.demo") / MODEL) as path:
        return load_model(path)


def draw(folder: Path, people: int, distractors: int, advance: Advance = lambda *_: None) -> None:
    """Draw people to be scored on, and a few to calibrate on."""
    done, total = 0, LEARNERS + people

    def count(more: int) -> None:
        nonlocal done
        done += more
        advance("drawing people", done, total)

    write_synthetic(folder, train=LEARNERS, test=people, distractors=distractors, seed=SEED, advance=count)


def learn(network: Network, pictures: Path, advance: Advance = lambda *_: None) -> CalibrationTable:
    """A calibration table, of pictures that nothing is scored on."""
    sample = ImageSample(list((pictures / "bounding_box_train").iterdir()), CALIBRATED)
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        advance("calibrating", done, CALIBRATED)

    return calibrate(network, sample, advance=count)


def engine_path(folder: Path, target: str, precision: str) -> Path:
    """Where an engine lies."""
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
    """Build an engine in each precision that the target has, fp32 first; score and time them.

    Raises as `fastrt.build` and `fastrt.evaluate` do.
    """
    have = find_target(target).precisions()
    precisions = [precision for precision in PRECISIONS if precision in have]
    paths = {precision: engine_path(folder, target, precision) for precision in precisions}
    scores: dict[Precision, Scores] = {}
    for i, (precision, path) in enumerate(paths.items()):
        advance("building and scoring engines", i, len(paths))
        build(network, path, precision=precision, options=options, table=table if precision == "int8" else None)
        with load(path) as session:
            scores[precision] = evaluate(session, data_set)
    advance("building and scoring engines", len(paths), len(paths))
    sessions = {precision: load(path) for precision, path in paths.items()}
    try:
        images = read_images([picture.path for picture in data_set.query[:8]])
        speeds = compare_speed(sessions, sessions["fp32"].resize(images), advance)
    finally:
        for session in sessions.values():
            session.close()
    rows = partial(_make_row, scores["fp32"])
    return tuple(rows(p, paths[p], scores[p], speeds[p]) for p in precisions)


def _make_row(fp32: Scores, precision: Precision, path: Path, scores: Scores, images_s: dict[int, float]) -> Row:
    similarity = float(centred_cosines(scores.gallery, fp32.gallery).min())
    return Row(precision, engine_size(path), scores, similarity, images_s)

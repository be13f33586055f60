"""Trained models in every precision: ``python -m benchmarks.demo_scores TARGET FOLDER [CHECKPOINT ...]``.

Engines are scored on drawn people and cameras that the training did not use. Without CHECKPOINT: the demonstration's
model, and the same network with random weights. Where int8 loses more than `LOSS` of mAP, the mix is scored too: int8
with as many layers excluded as `MIN_SIMILARITY` requires.

FOLDER holds the images and the calibration tables; both are made if missing. Copy a table into it on a host without
OpenVINO.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import fastrt
from benchmarks.results import RESULTS, Row, read_result, run_command, shared_host, write_result
from fastrt.datasets.base import DataSet
from fastrt.datasets.synthetic import Synthetic
from fastrt.demo.demonstrate import MODEL, calibrate_on, compare, draw, score
from fastrt.demo.demonstrate import Row as Scored
from fastrt.engine.calibration_table import read_table
from fastrt.engine.load import describe
from fastrt.models.load import Model, load_model
from fastrt.targets.base import BuildOptions
from fastrt.targets.registry import find_target
from fastrt.testing.untrained import draw_weights
from fastrt.timing.host import describe_host

PEOPLE, DISTRACTORS = 150, 500
BATCH = 8
LOSS = 0.005
"""Largest loss of mAP in int8 without a mix: half a percentage point."""

MIN_SIMILARITY = 0.97
"""The mix's least mean-centred cosine to fp32; below, `fastrt.build` warns."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_scores", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoint", nargs="*", type=Path)
    parser.add_argument("--people", type=int, default=PEOPLE, help="people to draw if FOLDER has no images")
    parser.add_argument("--distractors", type=int, default=DISTRACTORS)
    given = parser.parse_args()
    find_target(given.target).precisions()  # fails at once if the target is not installed
    images = given.folder / "images"
    if not images.exists():
        draw(images, given.people, given.distractors)
    data_set = Synthetic(images)
    for checkpoint in given.checkpoint:
        rows, device = score_model(load_model(checkpoint), checkpoint.stem, given.target, given.folder, data_set)
        write_rows(f"trained_scores_{given.target}", "CHECKPOINT ...", given.target, checkpoint, rows, device)
    if not given.checkpoint:
        with as_file(files("fastrt.demo") / MODEL) as checkpoint:
            model = load_model(checkpoint)
            rows, device = score_model(model, "demo", given.target, given.folder, data_set)
            rows.append(score_untrained(model, given.target, data_set))
            write_rows(f"demo_scores_{given.target}", "", given.target, checkpoint, rows, device)


def score_model(model: Model, name: str, target: str, folder: Path, data_set: DataSet) -> tuple[list[Row], str | None]:
    """Score a model in each precision; return rows and the device's name."""
    network, path = model.network(), folder / f"{name}.json"
    if not path.exists():
        calibrate_on(network, folder / "images").save(path)
    table, options = read_table(path), choose_options(target, folder)
    with tempfile.TemporaryDirectory() as engines:
        scored = list(compare(network, table, data_set, Path(engines), target, options))
        exact, int8 = scored[0].scores, scored[-1]
        mixed = int8.precision == "int8" and exact.mAP - int8.scores.mAP > LOSS
        if mixed:
            mix = int8.engine.with_stem("mix")
            fastrt.build(*(network, mix, target, "int8"), options=options, table=table, min_similarity=MIN_SIMILARITY)
            scored.append(score("int8", mix, data_set, exact))
        device = describe(scored[0].engine).device
        names = [*(row.precision for row in scored[: len(scored) - mixed]), *(["int8 mix"] if mixed else [])]
        return [lay_out(model, *pair, data_set) for pair in zip(names, scored, strict=True)], device


def choose_options(target: str, folder: Path) -> BuildOptions:
    chosen = find_target(target)
    options = BuildOptions(batches=(BATCH,) if chosen.batches else ())
    return replace(options, timing_cache=folder / "timing.cache") if chosen.measures else options


def lay_out(model: Model, precision: str, scored: Scored, data_set: DataSet) -> Row:
    """Format one engine's scores as a row, in percent."""
    excluded = describe(scored.engine).kept or ()
    return {
        "model": model.spec.title,
        "precision": precision,
        **{name: round(100 * value, 2) for name, value in scored.scores.figures().items()},
        "least centred cosine to fp32": round(scored.similarity, 5),
        "MB": round(scored.bytes / 1e6, 2),
        **({"excluded from int8": len(excluded), "excluded": list(excluded)} if excluded else {}),
        "queries": len(data_set.query),
        "gallery": len(data_set.gallery),
    }


def score_untrained(model: Model, target: str, data_set: DataSet) -> Row:
    """Score the same network with random weights."""
    spec = model.spec
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / f"untrained{find_target(target).suffix}"
        fastrt.build(fastrt.build_network(spec, draw_weights(spec)), engine, target, check=False)
        row = lay_out(model, "fp32, random weights", score("fp32", engine, data_set), data_set)
    return {key: value for key, value in row.items() if key not in ("least centred cosine to fp32", "MB")}


def write_rows(
    name: str, arguments: str, target: str, checkpoint: Path, rows: Sequence[Row], device: str | None
) -> None:
    """Write a model's rows; rows of other models from the same host are kept."""
    host = {**describe_host(), "gpu": device, "target": find_target(target).version()}
    model, digests, others = rows[0]["model"], {}, []
    if (RESULTS / f"{name}.json").is_file():
        before = read_result(name)
        if shared_host(before["host"], host) is not None:
            digests, others = before["checkpoints"], [row for row in before["rows"] if row["model"] != model]
    digests[model] = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    command = f"demo_scores {target} FOLDER {arguments}".strip()
    write_result(name, command, [*others, *rows], host=host, checkpoints=digests)


if __name__ == "__main__":
    run_command(main)

"""The demonstration's model in every precision: ``python -m benchmarks.demo_scores TARGET FOLDER``.

Its engines are scored on drawn people and cameras that the training did not use. The same network with random weights
is scored too. FOLDER holds the images and the calibration table; both are made if missing. Copy a table into it on a
host without OpenVINO.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import fastrt
from benchmarks.results import run_command, write_result
from fastrt.datasets.base import DataSet
from fastrt.datasets.synthetic import Synthetic
from fastrt.demo.demonstrate import calibrate_on, compare, draw, load_demo_model
from fastrt.engine.calibration_table import read_table
from fastrt.engine.load import describe
from fastrt.evaluation.evaluate import Scores, evaluate
from fastrt.targets.base import BuildOptions
from fastrt.targets.registry import find_target
from fastrt.testing.untrained import draw_weights
from fastrt.timing.host import describe_host

PEOPLE, DISTRACTORS = 150, 500
BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_scores", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    target, folder = given.target, given.folder
    chosen = find_target(target)
    chosen.precisions()  # fails at once if the target is not installed
    images, table = folder / "images", folder / "calibration.json"
    if not images.exists():
        draw(images, PEOPLE, DISTRACTORS)
    network = load_demo_model().network()
    if not table.exists():
        calibrate_on(network, images).save(table)
    data_set = Synthetic(images)
    options = BuildOptions(
        batches=(BATCH,) if chosen.batches else (), timing_cache=folder / "timing.cache" if chosen.measures else None
    )
    with tempfile.TemporaryDirectory() as engines:
        rows = compare(network, read_table(table), data_set, Path(engines), target, options)
        untrained = score_untrained(data_set, Path(engines) / f"untrained{chosen.suffix}", options)
        device = describe(next(Path(engines).glob(f"*{chosen.suffix}"))).device
    shown = [
        *(
            {
                "network": f"trained, {row.precision}",
                **in_percent(row.scores),
                "least centred cosine to fp32": round(row.similarity, 5),
                **{f"images/s, batch {batch}": rate for batch, rate in row.images_s.items()},
                "MB": round(row.bytes / 1e6, 1),
            }
            for row in rows
        ),
        {"network": "random weights, fp32", **untrained},
    ]
    write_result(
        f"demo_scores_{target}",
        f"demo_scores {target} FOLDER",
        shown,
        host={**describe_host(), "gpu": device, "target": chosen.version()},
        data_set=f"{len(data_set.query)} queries of {PEOPLE} people, gallery of {len(data_set.gallery)}",
    )
    print(json.dumps(shown, indent=1))


def score_untrained(data_set: DataSet, path: Path, options: BuildOptions) -> dict[str, float]:
    """Score the same network with random weights."""
    spec = load_demo_model().spec
    fastrt.build(fastrt.build_network(spec, draw_weights(spec)), path, options=options, check=False)
    with fastrt.load(path) as session:
        return in_percent(evaluate(session, data_set))


def in_percent(scores: Scores) -> dict[str, float]:
    return {name: round(100 * value, 2) for name, value in scores.figures().items()}


if __name__ == "__main__":
    run_command(main)

"""Time of whole jobs, one after the other: ``python -m benchmarks.jobs WHAT``.

``files``: read, write and build files of a ResNet-50 with IBN-a at 384x128. The command is timed from start to end, as
a user experiences it. Each figure is the best of three runs.

``calibration``: calibrate a ResNet-50 at 256x128 on 512 images.

``evaluation``: ranking, re-ranking and pairs at the size of real data sets. The embeddings are random; those of one
person are similar. Each evaluation runs in its own process, to measure its peak memory.

``ranking RANK_CY``: ranking beside FastReID's Cython code, ``fastreid/evaluation/rank_cylib/rank_cy.pyx`` in a checkout
of FastReID. It is compiled first, which needs Cython, setuptools and a C compiler. Both rank the same distances at
Market-1501's size, in alternating rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import PLAIN, describe
from benchmarks.results import Row, run_command, write_result
from fastrt.arrays import Array
from fastrt.evaluation.distances import cosine_distances, distance_blocks
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.ranking import rank
from fastrt.evaluation.rerank import rerank
from fastrt.evaluation.roc import true_positive_rates
from fastrt.evaluation.threshold import find_threshold
from fastrt.images.sample import draw_held_out
from fastrt.testing.untrained import draw_weights
from fastrt.timing.clock import time_calls, time_in_turn, timed

SIZES = {"Market-1501": (3368, 19732, 751, 6), "MSMT17": (11659, 82161, 3060, 15)}
"""Numbers of queries, gallery images, people and cameras."""

DIMENSION = 2048
FALSE_MATCHES = 1e-3
MAX_RANK = 50
CALIBRATED = 512
SETUP = """
import numpy, setuptools
from Cython.Build import cythonize
extension = setuptools.Extension("rank_cy", ["rank_cy.pyx"], include_dirs=[numpy.get_include()])
setuptools.setup(ext_modules=cythonize([extension], language_level=3))
"""


def time_files() -> list[Row]:
    def best(call: Callable[[], object]) -> float:
        return round(min(time_calls(call, 3)), 2)

    config, override = "sbs_R50-ibn", ("MODEL.BACKBONE.WITH_NL", "False")
    arrays = draw_weights(fastrt.load_spec(config, override))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix in (".pth", ".wts", ".safetensors"):
            path = folder / f"model{suffix}"
            rows.append({"what": f"write {suffix}", "seconds": best(partial(fastrt.save_weights, arrays, path))})
            rows.append({"what": f"read {suffix}", "seconds": best(partial(fastrt.load_weights, path))})
            rows[-1]["megabytes"] = round(path.stat().st_size / 1e6)
        for suffix in (".xml", ".onnx"):
            words = [sys.executable, "-m", "fastrt", "build", folder / "model.pth", "-o", folder / f"engine{suffix}"]
            words += ["--config", config, "--set", *override]
            seconds = best(partial(subprocess.run, words, check=True, capture_output=True))
            rows.append({"what": f"fastrt build model.pth -o engine{suffix}", "seconds": seconds})
    return rows


def time_calibration() -> list[Row]:
    network, images = describe(PLAIN), draw_held_out((256, 128), CALIBRATED)
    rows = []
    for method in ("minmax", "percentile", "entropy", "mse"):
        seconds, _ = timed(partial(fastrt.calibrate, network, images, method))
        rows.append({"method": method, "images": CALIBRATED, "seconds": round(seconds, 1)})
    return rows


def draw(size: str) -> tuple[list[Array], list[Array], list[Array]]:
    """Draw embeddings, identities and cameras, of queries and gallery each."""
    queries, gallery, people, cameras = SIZES[size]
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((people, DIMENSION), np.float32)
    pids = [rng.integers(0, people, count) for count in (queries, gallery)]
    camids = [rng.integers(0, cameras, count) for count in (queries, gallery)]
    features = [centres[who] + 4 * rng.standard_normal((len(who), DIMENSION), np.float32) for who in pids]
    return features, pids, camids


def evaluate_ranking(features: list[Array], pids: list[Array], camids: list[Array], *, again: bool) -> Row:
    queries, gallery = features
    blocks = [(0, rerank(queries, gallery))] if again else distance_blocks(queries, gallery)
    return {"mAP": round(rank(blocks, *pids, *camids).mAP, 4)}


def evaluate_pairs(features: list[Array], pids: list[Array], camids: list[Array]) -> Row:
    queries, gallery = features
    pairs = Pairs(partial(distance_blocks, queries, gallery), *pids, *camids)
    rates, threshold = true_positive_rates(pairs), find_threshold(pairs, FALSE_MATCHES)
    return {
        "pairs, millions": round((pairs.different + len(pairs.same)) / 1e6),
        "found, %": round(100 * threshold.found, 2),
        "TPR@FPR=1e-04, %": round(100 * rates[0], 2),
    }


EVALUATIONS: dict[str, tuple[str, Callable[..., Row]]] = {
    "rank Market-1501": ("Market-1501", partial(evaluate_ranking, again=False)),
    "rank MSMT17": ("MSMT17", partial(evaluate_ranking, again=False)),
    "re-rank Market-1501": ("Market-1501", partial(evaluate_ranking, again=True)),
    "ROC and threshold MSMT17": ("MSMT17", evaluate_pairs),
}


def measure(title: str) -> Row:
    """Run one evaluation; returns its figures, its seconds and the peak memory of this process."""
    size, evaluate = EVALUATIONS[title]
    seconds, figures = timed(partial(evaluate, *draw(size)))
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"what": title, "seconds": round(seconds, 1), "peak_GB": round(gigabytes, 2), **figures}


def time_evaluation() -> list[Row]:
    rows = []
    for title in EVALUATIONS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(measure, title).result())
    return rows


def compile_fastreid(source: Path, folder: Path) -> Any:
    """Compile FastReID's module in a folder, and import it."""
    shutil.copy(source, folder / "rank_cy.pyx")
    (folder / "setup.py").write_text(SETUP)
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=folder, check=True)
    spec = importlib.util.spec_from_file_location("rank_cy", next(folder.glob("rank_cy.*.so")))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def time_ranking(source: Path) -> list[Row]:
    """Compare FastReID's and fastrt's ranking: their times, and their largest difference."""
    with tempfile.TemporaryDirectory() as folder:
        fastreid = compile_fastreid(source, Path(folder))
    features, pids, camids = draw("Market-1501")
    distances = cosine_distances(*features).astype(np.float32)
    theirs = partial(fastreid.evaluate_cy, distances, *pids, *camids, MAX_RANK)
    ours = partial(rank, [(0, distances)], *pids, *camids)
    (cmc, precision, penalty), scores = theirs(), ours()
    pairs = ((np.mean(precision), scores.mAP), (np.mean(penalty), scores.mINP), (cmc, scores.cmc))
    difference = max(float(np.abs(np.subtract(one, other)).max()) for one, other in pairs)
    times = time_in_turn({"FastReID, Cython": theirs, "fastrt": ours}, rounds=5)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    rows: list[Row] = [
        {"what": name, "seconds": round(value, 2), "times as fast": round(medians["FastReID, Cython"] / value, 2)}
        for name, value in medians.items()
    ]
    rows[1]["largest difference"] = f"{difference:.0e}"
    return rows


JOBS: dict[str, tuple[str, Callable[..., list[Row]]]] = {
    "files": ("time_files", time_files),
    "calibration": ("calibration_time", time_calibration),
    "evaluation": ("evaluation_scale", time_evaluation),
    "ranking": ("compare_ranking", time_ranking),
}
"""Each job's result and function."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("what", choices=JOBS)
    parser.add_argument("source", nargs="?", type=Path, metavar="RANK_CY")
    given = parser.parse_args()
    if (given.what == "ranking") != (given.source is not None and given.source.is_file()):
        parser.error(f"{given.what} with {given.source}; expected FastReID's rank_cy.pyx for ranking, and nothing else")
    result, work = JOBS[given.what]
    rows = work(*([given.source] if given.source else []))
    print(*rows, sep="\n")
    write_result(result, f"jobs {given.what}{' RANK_CY' if given.source else ''}", rows)


if __name__ == "__main__":
    run_command(main)

"""Ranking, re-ranking and pairs at the size of real data sets: ``python -m benchmarks.evaluation [WHAT ...]``.

The embeddings are random; those of one person are similar. Each evaluation runs in its own process, to measure its
peak memory.

``python -m benchmarks.evaluation --fastreid RANK_CY`` compares ranking with FastReID's Cython code. RANK_CY is
``fastreid/evaluation/rank_cylib/rank_cy.pyx`` in a checkout of FastReID. It is compiled first, which needs Cython,
setuptools and a C compiler. Both rank the same distances at Market-1501's size, in alternating rounds.
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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Row, run_command, write_result
from fastrt.arrays import Array
from fastrt.evaluation.distances import cosine_distances, distance_blocks
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.ranking import rank
from fastrt.evaluation.rerank import rerank
from fastrt.evaluation.roc import true_positive_rates
from fastrt.evaluation.threshold import find_threshold
from fastrt.timing.clock import time_in_turn, timed

SIZES = {"Market-1501": (3368, 19732, 751, 6), "MSMT17": (11659, 82161, 3060, 15)}
"""Numbers of queries, gallery images, people and cameras."""

DIMENSION = 2048
FALSE_MATCHES = 1e-3
MAX_RANK = 50
ROUNDS = 5
SETUP = """
import numpy, setuptools
from Cython.Build import cythonize
extension = setuptools.Extension("rank_cy", ["rank_cy.pyx"], include_dirs=[numpy.get_include()])
setuptools.setup(ext_modules=cythonize([extension], language_level=3))
"""


def draw(size: str) -> tuple[list[Array], list[Array], list[Array]]:
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
    rates = true_positive_rates(pairs)
    threshold = find_threshold(pairs, FALSE_MATCHES)
    return {
        "pairs, millions": round((pairs.different + len(pairs.same)) / 1e6),
        "found, %": round(100 * threshold.found, 2),
        "TPR@FPR=1e-04, %": round(100 * rates[0], 2),
    }


WORK: dict[str, tuple[str, Callable[..., Row]]] = {
    "rank Market-1501": ("Market-1501", partial(evaluate_ranking, again=False)),
    "rank MSMT17": ("MSMT17", partial(evaluate_ranking, again=False)),
    "re-rank Market-1501": ("Market-1501", partial(evaluate_ranking, again=True)),
    "ROC and threshold MSMT17": ("MSMT17", evaluate_pairs),
}


def measure(title: str) -> Row:
    """Run one evaluation; returns its figures, its seconds and the peak memory of this process."""
    size, evaluate = WORK[title]
    seconds, figures = timed(partial(evaluate, *draw(size)))
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"what": title, "seconds": round(seconds, 1), "peak_GB": round(gigabytes, 2), **figures}


def measure_all(titles: Sequence[str]) -> None:
    rows = []
    for title in titles:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(measure, title).result())
        print(rows[-1], flush=True)
        write_result("evaluation_scale", "evaluation", rows)


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


def compare(source: Path) -> None:
    """Write the times of FastReID's and fastrt's ranking, and their largest difference."""
    with tempfile.TemporaryDirectory() as folder:
        fastreid = compile_fastreid(source, Path(folder))
    features, pids, camids = draw("Market-1501")
    distances = cosine_distances(*features).astype(np.float32)
    theirs = partial(fastreid.evaluate_cy, distances, *pids, *camids, MAX_RANK)
    ours = partial(rank, [(0, distances)], *pids, *camids)
    (cmc, precision, penalty), scores = theirs(), ours()
    difference = max(
        abs(float(np.mean(precision)) - scores.mAP),
        abs(float(np.mean(penalty)) - scores.mINP),
        float(np.abs(np.asarray(cmc) - scores.cmc).max()),
    )
    times = time_in_turn({"FastReID, Cython": theirs, "fastrt": ours}, rounds=ROUNDS)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    rows: list[Row] = [
        {"what": name, "seconds": round(value, 2), "times as fast": round(medians["FastReID, Cython"] / value, 2)}
        for name, value in medians.items()
    ]
    rows[1]["largest difference"] = f"{difference:.0e}"
    print(*rows, sep="\n")
    write_result("compare_ranking", "evaluation --fastreid RANK_CY", rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("what", nargs="*", help=f"one of: {', '.join(WORK)}")
    parser.add_argument("--fastreid", type=Path, metavar="RANK_CY")
    given = parser.parse_args()
    if unknown := [title for title in given.what if title not in WORK]:
        parser.error(f"no evaluation is named {unknown[0]}; expected one of {', '.join(WORK)}")
    if given.fastreid is None:
        measure_all(given.what or list(WORK))
    elif not given.fastreid.is_file():
        parser.error(f"{given.fastreid} is not a file; expected FastReID's rank_cy.pyx")
    else:
        compare(given.fastreid)


if __name__ == "__main__":
    run_command(main)

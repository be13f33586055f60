"""Ranking, re-ranking and pairs at the size of data sets: ``python -m benchmarks.evaluation_scale [WHAT ...]``.

Random embeddings, of people that are somewhat alike to themselves. Each in a process of its own, for its peak memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from fastrt.arrays import Array
from fastrt.evaluation.distances import distance_blocks
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.ranking import rank
from fastrt.evaluation.rerank import rerank
from fastrt.evaluation.roc import true_positive_rates
from fastrt.evaluation.threshold import find_threshold
from fastrt.timing.host import describe_machine

RESULT = Path(__file__).parent / "results" / "evaluation_scale.json"
SIZES = {"Market-1501": (3368, 19732, 751, 6), "MSMT17": (11659, 82161, 3060, 15)}
DIMENSION = 2048
FALSE_MATCHES = 1e-3


def draw(size: str) -> tuple[list[Array], list[Array], list[Array]]:
    queries, gallery, people, cameras = SIZES[size]
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((people, DIMENSION), np.float32)
    pids = [rng.integers(0, people, count) for count in (queries, gallery)]
    camids = [rng.integers(0, cameras, count) for count in (queries, gallery)]
    features = [centres[who] + 4 * rng.standard_normal((len(who), DIMENSION), np.float32) for who in pids]
    return features, pids, camids


def measure_ranking(size: str, *, again: bool) -> dict[str, object]:
    features, pids, camids = draw(size)
    start = time.perf_counter()
    blocks = [(0, rerank(features[0], features[1]))] if again else distance_blocks(features[0], features[1])
    result = rank(blocks, pids[0], pids[1], camids[0], camids[1])
    return {**spent(start), "mAP": round(result.mAP, 4)}


def measure_pairs(size: str) -> dict[str, object]:
    features, pids, camids = draw(size)
    start = time.perf_counter()
    pairs = Pairs(partial(distance_blocks, features[0], features[1]), pids[0], pids[1], camids[0], camids[1])
    rates = true_positive_rates(pairs)
    threshold = find_threshold(pairs, FALSE_MATCHES)
    return {
        **spent(start),
        "pairs, millions": round((pairs.different + len(pairs.same)) / 1e6),
        "found, %": round(100 * threshold.found, 2),
        "TPR@FPR=1e-04, %": round(100 * rates[0], 2),
    }


def spent(start: float) -> dict[str, object]:
    """Seconds since, and the process's peak memory."""
    seconds = time.perf_counter() - start
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": round(seconds, 1), "peak_GB": round(gigabytes, 2)}


WORK: dict[str, Callable[[], dict[str, object]]] = {
    "rank Market-1501": partial(measure_ranking, "Market-1501", again=False),
    "rank MSMT17": partial(measure_ranking, "MSMT17", again=False),
    "re-rank Market-1501": partial(measure_ranking, "Market-1501", again=True),
    "ROC and threshold MSMT17": partial(measure_pairs, "MSMT17"),
}


def main(titles: list[str]) -> None:
    rows = []
    for title in titles:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.evaluation_scale", "--one", title],
            check=True,
            capture_output=True,
            text=True,
        )
        rows.append(json.loads(done.stdout))
        print(rows[-1], flush=True)
        RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps({"what": sys.argv[2], **WORK[sys.argv[2]]()}))
    else:
        main(sys.argv[1:] or list(WORK))

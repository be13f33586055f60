"""Ranking beside FastReID's own in Cython: ``python -m benchmarks.compare_ranking RANK_CY``.

``RANK_CY`` is ``fastreid/evaluation/rank_cylib/rank_cy.pyx`` of a checkout of FastReID; it is compiled here, which
takes Cython, setuptools and a C compiler. Both rank the very same distances at Market-1501's size, in turn.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation_scale import draw
from fastrt.evaluation.distances import cosine_distances
from fastrt.evaluation.ranking import rank
from fastrt.timing.host import describe_machine

RESULT = Path(__file__).parent / "results" / "compare_ranking.json"
SIZE = "Market-1501"
MAX_RANK = 50
ROUNDS = 5
SETUP = """
import numpy, setuptools
from Cython.Build import cythonize
extension = setuptools.Extension("rank_cy", ["rank_cy.pyx"], include_dirs=[numpy.get_include()])
setuptools.setup(ext_modules=cythonize([extension], language_level=3))
"""


def compile_theirs(source: Path, folder: Path) -> Any:
    """FastReID's module, compiled in a folder."""
    shutil.copy(source, folder / "rank_cy.pyx")
    (folder / "setup.py").write_text(SETUP)
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=folder, check=True)
    spec = importlib.util.spec_from_file_location("rank_cy", next(folder.glob("rank_cy.*.so")))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main(source: Path) -> None:
    features, pids, camids = draw(SIZE)
    distances = cosine_distances(*features).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        theirs = compile_theirs(source, Path(folder))
    times: dict[str, list[float]] = {"FastReID, Cython": [], "fastrt": []}
    for _ in range(ROUNDS):
        seconds, (cmc, precision, penalty) = timed(
            lambda: theirs.evaluate_cy(distances, *pids, *camids, MAX_RANK),
        )
        times["FastReID, Cython"].append(seconds)
        seconds, ours = timed(lambda: rank([(0, distances)], *pids, *camids))
        times["fastrt"].append(seconds)
    difference = max(
        abs(float(np.mean(precision)) - ours.mAP),
        abs(float(np.mean(penalty)) - ours.mINP),
        float(np.abs(np.asarray(cmc) - ours.cmc).max()),
    )
    medians = {name: statistics.median(values) for name, values in times.items()}
    slowest = medians["FastReID, Cython"]
    rows = [
        {"what": name, "seconds": round(value, 2), "times as fast": round(slowest / value, 2)}
        for name, value in medians.items()
    ]
    rows[1]["largest difference"] = f"{difference:.0e}"
    result = {"command": "python -m benchmarks.compare_ranking RANK_CY", "machine": describe_machine(), "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

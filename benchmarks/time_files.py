"""Time to read, write and build files of a ResNet-50 with IBN-a at 384x128: ``python -m benchmarks.time_files``.

The command is timed from start to end, as a user experiences it; readers and writers are timed alone. Each figure is
the best of three runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fastrt
from benchmarks.results import write_result
from fastrt.testing.untrained import draw_weights
from fastrt.timing.clock import timed

TIMES = 3


def best(function: Callable[[], object]) -> float:
    """The shortest of three runs, in seconds."""
    return round(min(timed(function)[0] for _ in range(TIMES)), 2)


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.time_files", description=__doc__).parse_args()
    spec = fastrt.load_spec("sbs_R50-ibn", ["MODEL.BACKBONE.WITH_NL", False])
    arrays = draw_weights(spec)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix in (".pth", ".wts", ".safetensors"):
            path = folder / f"model{suffix}"
            rows.append({"what": f"write {suffix}", "seconds": best(partial(fastrt.save_weights, arrays, path))})
            rows.append({"what": f"read {suffix}", "seconds": best(partial(fastrt.load_weights, path))})
            rows[-1]["megabytes"] = round(path.stat().st_size / 1e6)
        for suffix in (".xml", ".onnx"):
            words = [sys.executable, "-m", "fastrt", "build", folder / "model.pth", "-o", folder / f"engine{suffix}"]
            words += ["--config", "sbs_R50-ibn", "--set", "MODEL.BACKBONE.WITH_NL", "False"]
            rows.append(
                {
                    "what": f"fastrt build model.pth -o engine{suffix}",
                    "seconds": best(partial(subprocess.run, words, check=True, capture_output=True)),
                }
            )
    for row in rows:
        print(row)
    write_result("time_files", "time_files", rows)


if __name__ == "__main__":
    main()

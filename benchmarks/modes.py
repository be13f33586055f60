"""What a session is best told on this CPU: ``python -m benchmarks.modes``.

Images a second of engines on OpenVINO that are loaded for latency or for throughput, by how many images they are given
at once; batches come one after the other, as in ``fastrt embed``. All are measured in turn.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.models import describe
from fastrt.arrays import Array
from fastrt.images.sample import draw_held_out
from fastrt.targets.base import Mode
from fastrt.targets.engine_info import Precision
from fastrt.timing.host import describe_machine

RESULT = Path(__file__).parent / "results" / "modes.json"
ENGINES: tuple[tuple[str, Precision], ...] = (("R34", "fp32"), ("R34", "int8"), ("R50-NL-IBN", "int8"))
MODES: tuple[Mode, ...] = ("latency", "throughput")
BATCHES = (1, 2, 4, 8, 16, 32)
IMAGES = 64
ROUNDS = 5


def rate(session: fastrt.Session, images: Array, batch: int) -> float:
    start = time.perf_counter()
    for _ in session.embed_batches(images[i : i + batch] for i in range(0, len(images), batch)):
        pass
    return len(images) / (time.perf_counter() - start)


def measure(path: Path, images: Array) -> dict[tuple[Mode, int], float]:
    """Images a second by mode and batch, the median of the rounds."""
    sessions = {(mode, batch): fastrt.load(path, batch=batch, mode=mode) for mode in MODES for batch in BATCHES}
    rates: dict[tuple[Mode, int], list[float]] = {key: [] for key in sessions}
    for turn in range(ROUNDS + 1):
        for (mode, batch), session in sessions.items():
            found = rate(session, images, batch)
            if turn:  # the first warms up
                rates[mode, batch].append(found)
    for session in sessions.values():
        session.close()
    return {key: statistics.median(values) for key, values in rates.items()}


def main() -> None:
    rows: list[dict[str, object]] = []
    for title, precision in ENGINES:
        network = describe(title)
        height, width = network.input.shape[1:]
        images = np.stack(draw_held_out((height, width), IMAGES))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "engine.xml"
            table = fastrt.calibrate(network, images[:32]) if precision == "int8" else None
            fastrt.build(network, path, precision=precision, table=table)
            rates = measure(path, images)
        for mode in MODES:
            figures = {f"batch {batch}": round(rates[mode, batch], 1) for batch in BATCHES}
            rows.append({"model": title, "precision": precision, "mode": mode, **figures})
            print(rows[-1], flush=True)
    result = {"command": "python -m benchmarks.modes", "machine": describe_machine(), "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

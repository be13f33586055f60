"""The whole job beside the network alone: ``python -m benchmarks.embed_rate``.

JPEG crops of 128x64 to 512x256 are embedded to a file as ``fastrt embed`` does it; by the network alone, from batches
that are ready; and by a plain loop that reads an image, resizes it and runs it. Slices of the crops are done by each in
turn, in one process.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

import fastrt
from benchmarks.models import describe
from fastrt.calibration.images import draw_held_out
from fastrt.demo.demonstrate import load_demo_model
from fastrt.drawing import draw_person
from fastrt.embed import Store, stream_embeddings
from fastrt.engine_info import Precision
from fastrt.machine import describe_machine

RESULT = Path(__file__).parent / "results" / "embed_rate.json"
CROPS = 5000
SLICE = 500
LOOPED = 100
"""Of a slice, by the plain loop and by the network alone."""

DEMO = "R18-distill"
ENGINES: tuple[tuple[str, Precision], ...] = ((DEMO, "int8"), (DEMO, "fp32"), ("R34", "int8"))


def write_crops(folder: Path) -> list[Path]:
    """People in JPEG files, from 128x64 to 512x256."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(CROPS):
        height = int(rng.integers(128, 513))
        paths.append(folder / f"{i:05}.jpg")
        PIL.Image.fromarray(draw_person(i // 4, i % 4, height, height // 2)[..., ::-1]).save(paths[-1], quality=90)
    return paths


def loop(session: fastrt.Session, paths: list[Path]) -> None:
    """What everybody writes first."""
    height, width = session.info.image_size
    for path in paths:
        image: Any = cv2.imread(str(path))
        session(np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)[None])


def embed(session: fastrt.Session, paths: list[Path], output: Path) -> None:
    with Store(output, session.info, paths) as store:
        for piece in stream_embeddings(session, paths):
            store.append(piece)
        store.finish()


def rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def measure(engine: Path, paths: list[Path]) -> dict[str, float]:
    """Images a second of each, and the median of the ratios of a slice."""
    found: dict[str, list[float]] = {"embed": [], "network alone": [], "plain loop": []}
    with fastrt.load(engine, mode="throughput") as session, fastrt.load(engine) as plain:
        ready = session.resize(draw_held_out(session.info.image_size, session.batch))
        batches = [ready] * (LOOPED // len(ready))
        for start in range(0, len(paths), SLICE):
            part = paths[start : start + SLICE]
            alone = rate(len(batches) * len(ready), lambda: list(session.embed_batches(batches)))
            found["network alone"].append(alone)
            found["embed"].append(rate(len(part), lambda part=part: embed(session, part, engine.with_suffix(".npy"))))  # type: ignore[misc]
            found["plain loop"].append(rate(LOOPED, lambda part=part: loop(plain, part[:LOOPED])))  # type: ignore[misc]
    row = {f"{name}, images/s": round(statistics.median(values), 1) for name, values in found.items()}
    for name in ("network alone", "plain loop"):
        ratios = [mine / other for mine, other in zip(found["embed"], found[name], strict=True)]
        row[f"embed by {name}"] = round(statistics.median(ratios), 3)
    return row


def main(titles: list[str]) -> None:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "crops").mkdir()
        paths = write_crops(folder / "crops")
        for title, precision in ENGINES:
            if titles and title not in titles:
                continue
            network = load_demo_model().network() if title == DEMO else describe(title)
            table = fastrt.calibrate(network, draw_held_out((256, 128))) if precision == "int8" else None
            engine = folder / f"{title}-{precision}.xml"
            fastrt.build(network, engine, precision=precision, table=table)
            rows.append({"engine": f"{title} {precision}", **measure(engine, paths)})
            print(rows[-1], flush=True)
    result = {"command": "python -m benchmarks.embed_rate", "machine": describe_machine(), "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

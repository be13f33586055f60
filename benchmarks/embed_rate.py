"""The whole job beside the network alone: ``python -m benchmarks.embed_rate``.

JPEG crops of 128x64 to 512x256 are embedded to a file as ``fastrt embed`` does it; by the network alone, from batches
that are ready; by a plain loop that reads an image, resizes it and runs it; and they are only read and resized, by one
thread. Slices of the crops are done by each in turn, in one process.

``no core idle`` is what reading and network would come to together if all cores were busy throughout with either: more
than that only a faster network or reader could do, but for what the caches make of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

import fastrt
from benchmarks.clock import timed
from benchmarks.models import describe
from benchmarks.results import write_result
from fastrt.demo.demonstrate import load_demo_model
from fastrt.extraction import Store, stream_embeddings
from fastrt.images.drawing import draw_person
from fastrt.images.preprocess import read_resized
from fastrt.images.sample import draw_held_out
from fastrt.targets.engine_info import Precision

CROPS = 5000
SLICE = 500
LOOPED = 100
"""Images of a slice that the plain loop and the network alone process."""

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
    """A plain loop: read, resize, run."""
    height, width = session.info.image_size
    for path in paths:
        image: Any = cv2.imread(str(path))
        session(np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)[None])


def read(session: fastrt.Session, paths: list[Path]) -> None:
    """As ``fastrt embed`` reads, by one of its threads."""
    for path in paths:
        read_resized(path, session.info.image_size, session.info.resampler)


def embed(session: fastrt.Session, paths: list[Path], output: Path) -> None:
    with Store(output, session.info, paths) as store:
        for piece in stream_embeddings(session, paths):
            store.append(piece)
        store.finish()


def busy_rate(network: float, reading: float, cores: int) -> float:
    """Images a second if no core is ever idle, by what all cores do of the one alone, and one core of the other.

    >>> busy_rate(200.0, 600.0, cores=2)
    171.42857142857142
    """
    return 1 / (1 / network + 1 / (cores * reading))


def rate(count: int, work: Callable[[], object]) -> float:
    return count / timed(work)[0]


def measure(engine: Path, paths: list[Path]) -> dict[str, float]:
    """Images a second of each, and the median of the ratios of a slice."""
    found: dict[str, list[float]] = {"embed": [], "network alone": [], "reading, one thread": [], "plain loop": []}
    with fastrt.load(engine, mode="throughput") as session, fastrt.load(engine) as plain:
        ready = session.resize(draw_held_out(session.info.image_size, session.batch))
        batches = [ready] * (LOOPED // len(ready))
        for start in range(0, len(paths), SLICE):
            part = paths[start : start + SLICE]
            alone = rate(len(batches) * len(ready), lambda: list(session.embed_batches(batches)))
            found["network alone"].append(alone)
            found["embed"].append(rate(len(part), lambda part=part: embed(session, part, engine.with_suffix(".npy"))))  # type: ignore[misc]
            found["reading, one thread"].append(rate(LOOPED, lambda part=part: read(session, part[:LOOPED])))  # type: ignore[misc]
            found["plain loop"].append(rate(LOOPED, lambda part=part: loop(plain, part[:LOOPED])))  # type: ignore[misc]
    medians = {name: statistics.median(values) for name, values in found.items()}
    row = {f"{name}, images/s": round(value, 1) for name, value in medians.items()}
    busy = busy_rate(medians["network alone"], medians["reading, one thread"], os.cpu_count() or 1)
    row["no core idle, images/s"] = round(busy, 1)
    for name in ("network alone", "plain loop"):
        ratios = [mine / other for mine, other in zip(found["embed"], found[name], strict=True)]
        row[f"embed by {name}"] = round(statistics.median(ratios), 3)
    return row


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.embed_rate", description=__doc__).parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "crops").mkdir()
        paths = write_crops(folder / "crops")
        for title, precision in ENGINES:
            network = load_demo_model().network() if title == DEMO else describe(title)
            table = fastrt.calibrate(network, draw_held_out((256, 128))) if precision == "int8" else None
            engine = folder / f"{title}-{precision}.xml"
            fastrt.build(network, engine, precision=precision, table=table)
            rows.append({"engine": f"{title} {precision}", **measure(engine, paths)})
            print(rows[-1], flush=True)
    write_result("embed_rate", "embed_rate", rows)


if __name__ == "__main__":
    main()

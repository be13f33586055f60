"""Rate of ``fastrt embed``, compared with the network alone: ``python -m benchmarks.embed_rate``.

JPEG crops of 128x64 to 512x256 are embedded to a file, as ``fastrt embed`` does. Compared with it: the network alone,
on ready batches; a plain loop that reads, resizes and runs each image; reading and resizing alone, in one thread. All
process slices of the crops in alternating turns, in one process.

``no core idle`` is the combined rate of reading and network if all cores are always busy. Only a faster network or
reader can exceed it, apart from effects of the caches.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

import fastrt
from benchmarks.models import TRAINED, describe
from benchmarks.results import write_result
from fastrt.extraction import Store, stream_embeddings
from fastrt.images.drawing import draw_person
from fastrt.images.preprocess import read_resized
from fastrt.images.sample import draw_held_out
from fastrt.targets.engine_info import Precision
from fastrt.timing.clock import timed

CROPS = 5000
SLICE = 500
LOOPED = 100
"""Images per slice for the network alone, reading alone and the plain loop."""

ENGINES: tuple[tuple[str, Precision], ...] = ((TRAINED, "int8"), (TRAINED, "fp32"), ("R34", "int8"))


def write_crops(folder: Path) -> list[Path]:
    """Write crops of people as JPEG files, from 128x64 to 512x256."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(CROPS):
        height = int(rng.integers(128, 513))
        paths.append(folder / f"{i:05}.jpg")
        PIL.Image.fromarray(draw_person(i // 4, i % 4, height, height // 2)[..., ::-1]).save(paths[-1], quality=90)
    return paths


def loop(session: fastrt.Session, paths: list[Path]) -> None:
    """Run the plain loop: read, resize, run."""
    height, width = session.info.image_size
    for path in paths:
        image: Any = cv2.imread(str(path))
        session(np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)[None])


def read(session: fastrt.Session, paths: list[Path]) -> None:
    """Read images as one thread of ``fastrt embed`` does."""
    for path in paths:
        read_resized(path, session.info.image_size, session.info.resampler)


def embed(session: fastrt.Session, paths: list[Path], output: Path) -> None:
    with Store(output, session.info, paths, restart=True) as store:
        for piece in stream_embeddings(session, paths):
            store.append(piece)
        store.finish()


def busy_rate(network: float, reading: float, cores: int) -> float:
    """Images/s if no core is idle, from the network's rate on all cores and the reading rate of one core.

    >>> busy_rate(200.0, 600.0, cores=2)
    171.42857142857142
    """
    return 1 / (1 / network + 1 / (cores * reading))


def measure(engine: Path, paths: list[Path]) -> dict[str, float]:
    """Measure the images/s of each, and the median ratios over the slices."""
    found: dict[str, list[float]] = {}
    with fastrt.load(engine, mode="throughput") as session, fastrt.load(engine) as plain:
        ready = session.resize(draw_held_out(session.info.image_size, session.batch))
        batches = [ready] * (LOOPED // len(ready))
        for start in range(0, len(paths), SLICE):
            part = paths[start : start + SLICE]
            works: dict[str, tuple[int, Callable[[], object]]] = {
                "embed": (SLICE, partial(embed, session, part, engine.with_suffix(".npy"))),
                "network alone": (len(batches) * len(ready), lambda: list(session.embed_batches(batches))),
                "reading, one thread": (LOOPED, partial(read, session, part[:LOOPED])),
                "plain loop": (LOOPED, partial(loop, plain, part[:LOOPED])),
            }
            for name, (count, work) in works.items():
                found.setdefault(name, []).append(count / timed(work)[0])
    medians = {name: statistics.median(values) for name, values in found.items()}
    row = {f"{name}, images/s": round(value, 1) for name, value in medians.items()}
    busy = busy_rate(medians["network alone"], medians["reading, one thread"], os.cpu_count() or 1)
    row["no core idle, images/s"] = round(busy, 1)
    for name in ("network alone", "plain loop"):
        ratios = [mine / other for mine, other in zip(found["embed"], found[name], strict=True)]
        row[f"embed / {name}"] = round(statistics.median(ratios), 3)
    return row


def main() -> None:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "crops").mkdir()
        paths = write_crops(folder / "crops")
        for title, precision in ENGINES:
            network = describe(title)
            table = fastrt.calibrate(network, draw_held_out((256, 128))) if precision == "int8" else None
            engine = folder / f"{title}-{precision}.xml"
            fastrt.build(network, engine, precision=precision, table=table)
            rows.append({"engine": f"{title} {precision}", **measure(engine, paths)})
            print(rows[-1], flush=True)
    write_result("embed_rate", "embed_rate", rows)


if __name__ == "__main__":
    main()

"""fastrt's own engines as contestants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Image
from fastrt.engine.load import describe, load
from fastrt.errors import EngineError
from fastrt.images.drawing import draw_person
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.registry import find_target
from fastrt.timing.processes import Advance, Contestant, Outcome, compete
from fastrt.timing.session import make_ready

CROPS = ((128, 64), (192, 80), (256, 128), (320, 140), (512, 256))
"""Sizes of crops that are given where preprocessing is measured too."""


@dataclass(frozen=True)
class Row:
    """One engine at one batch.

    Attributes:
        engine: the file.
        target: its runtime.
        runtime: the same with its version.
        threads: by how many threads of the CPU batches are computed, where the runtime says.
        device: the GPU that it is for, or the CPU.
        precision: that it computes in.
        batch: images a call.
        input: ``ready`` for a batch at the engine's size, ``crops`` for images of other sizes, which it resizes.
        median_ms: of a call.
        p99_ms: what one call in a hundred exceeds.
        images_s: by the median.
        load_s: to load it in a new process, its runtime's import included.
        start_s: from the start of that process on.
        peak_mb: the most memory that the process held, MB of 10^6 bytes.
    """

    engine: str
    target: str
    runtime: str
    threads: int | None
    device: str
    precision: str
    batch: int
    input: str
    median_ms: float
    p99_ms: float
    images_s: float
    load_s: float
    start_s: float
    peak_mb: float


def compare_engines(
    engines: Sequence[Path],
    batches: Sequence[int],
    *,
    crops: bool = False,
    device: str | None = None,
    seconds: float = 2.0,
    advance: Advance = lambda *_: None,
) -> list[Row]:
    """Time engines at batches, in turn.

    Args:
        engines: engine files, of one image size.
        batches: images a call.
        crops: also time images that must be resized.
        device: where they run; the target's own if None.
        seconds: for each engine and batch.
        advance: called with turns done and turns in all.

    Raises:
        EngineError: no engine, a batch below 1, a file that is no engine, engines of different image sizes, or one that
            fails.
    """
    if not engines:
        raise EngineError("there is no engine to time; name engine files, built with fastrt build")
    if min(batches) < 1:
        raise EngineError(f"a batch of {min(batches)} images cannot be timed; none may be below 1")
    infos = [describe(engine) for engine in engines]
    sizes = {info.image_size for info in infos}
    if len(sizes) != 1:
        raise EngineError(f"engines for {' and '.join(map(str, sorted(sizes)))} cannot be given the same images")
    works: dict[str, Any] = {}
    for batch in batches:
        works[f"ready {batch}"] = np.stack([draw_person(i, 0, *infos[0].image_size) for i in range(batch)])
        if crops:
            works[f"crops {batch}"] = draw_crops(batch)
    contestants = [Contestant(str(engine), partial(OpenEngine, engine, device)) for engine in engines]
    outcomes = compete(contestants, works, seconds=seconds, advance=advance)
    for outcome in outcomes:
        if outcome.error is not None:
            raise EngineError(f"{outcome.name}: {outcome.error}")
    described = zip(outcomes, infos, strict=True)
    return [_row(outcome, info, work) for outcome, info in described for work in works]


def draw_crops(count: int) -> list[Image]:
    """People in pictures of several sizes, as a detector gives them."""
    return [draw_person(i, 0, *CROPS[i % len(CROPS)]) for i in range(count)]


class OpenEngine:
    """A session, as a contest calls it; ``threads`` are the session's."""

    def __init__(self, path: Path, device: str | None = None) -> None:
        self._session = load(path, device)
        self._ready: dict[int, Any] = {}
        self.threads = self._session.threads

    def __call__(self, images: Any) -> object:
        """Embed crops in a list, or a batch at the engine's size in an array."""
        if isinstance(images, list):
            return self._session(images)
        if id(images) not in self._ready:
            self._ready[id(images)] = make_ready(self._session, images)
        return self._session(self._ready[id(images)])


def _row(outcome: Outcome, info: EngineInfo, work: str) -> Row:
    kind, batch = work.split()
    median = outcome.median_ms(work)
    return Row(
        engine=outcome.name,
        target=info.target,
        runtime=find_target(info.target).version(),
        threads=outcome.threads,
        device=info.device or "cpu",
        precision=str(info.precision),
        batch=int(batch),
        input=kind,
        median_ms=round(median, 3),
        p99_ms=round(outcome.p99_ms(work), 3),
        images_s=round(1e3 * int(batch) / median, 1),
        load_s=round(outcome.load_s, 3),
        start_s=round(outcome.start_s, 3),
        peak_mb=round(outcome.peak_mb, 1),
    )

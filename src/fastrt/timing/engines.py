"""Engines of fastrt as candidates of an interleaved benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Image
from fastrt.engine.load import describe, load
from fastrt.engine.numbers import check_count, check_seconds
from fastrt.errors import EngineError
from fastrt.images.drawing import draw_person
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.registry import find_target
from fastrt.timing.processes import Advance, Candidate, Outcome, run_interleaved
from fastrt.timing.session import LARGEST_BATCH, make_ready

CROPS = ((128, 64), (192, 80), (256, 128), (320, 140), (512, 256))
"""Sizes ``(h, w)`` of the crops with which preprocessing is measured."""


@dataclass(frozen=True)
class Row:
    """Result of one engine at one batch size.

    Attributes:
        engine: path of the engine file.
        target: name of the target.
        runtime: name and version of the runtime.
        threads: number of CPU threads, if the runtime reports it.
        device: the GPU or ``cpu``.
        precision: of the engine.
        batch: images per call.
        input: ``ready`` for a batch at the engine's size, ``crops`` for images of other sizes, which are resized.
        median_ms: median latency of a call in ms.
        p99_ms: 99th percentile of the latency in ms.
        images_s: images per second at the median latency.
        load_s: seconds to load the engine in a new process, including the import of the runtime.
        start_s: seconds from the start of that process until the engine is loaded.
        peak_mb: peak memory of the process, MB of 10^6 bytes.
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
    """Run an interleaved benchmark of engines.

    Args:
        engines: engine files of one image size.
        batches: batch sizes.
        crops: also time images that must be resized.
        device: device to run on; the target's default if None.
        seconds: measured time per engine and batch.
        advance: called with measurements done and total measurements.

    Raises:
        EngineError: no engine, a batch below 1 or above `LARGEST_BATCH`, a file that is not an engine, engines of
            different image sizes, or an engine that fails.
    """
    if not engines:
        raise EngineError("benchmark: no engine; expected at least one. Name engine files that fastrt build wrote.")
    batches = [check_count(batch, "benchmark: batch", LARGEST_BATCH) for batch in batches]
    seconds = check_seconds(seconds, "benchmark: seconds")
    infos = [describe(engine) for engine in engines]
    sizes = {info.image_size for info in infos}
    if len(sizes) != 1:
        found = " and ".join(f"{height}x{width}" for height, width in sorted(sizes))
        raise EngineError(f"benchmark: image sizes {found}; expected engines of one size. Run one benchmark per size.")
    inputs: dict[str, Any] = {}
    for batch in batches:
        inputs[f"ready {batch}"] = np.stack([draw_person(i, 0, *infos[0].image_size) for i in range(batch)])
        if crops:
            inputs[f"crops {batch}"] = draw_crops(batch)
    candidates = [Candidate(str(engine), partial(OpenEngine, engine, device)) for engine in engines]
    outcomes = run_interleaved(candidates, inputs, seconds=seconds, advance=advance)
    for outcome in outcomes:
        if outcome.error is not None:
            raise EngineError(f"{outcome.name}: {outcome.error}")
    described = zip(outcomes, infos, strict=True)
    return [_row(outcome, info, name) for outcome, info in described for name in inputs]


def draw_crops(count: int) -> list[Image]:
    """Draw ``count`` people in images of several sizes, like the crops of a detector."""
    return [draw_person(i, 0, *CROPS[i % len(CROPS)]) for i in range(count)]


class OpenEngine:
    """A session as a candidate calls it; ``threads`` is the session's number of threads."""

    def __init__(self, path: Path, device: str | None = None) -> None:
        self._session = load(path, device)
        self._ready: dict[int, Any] = {}
        self.threads = self._session.threads

    def __call__(self, images: Any) -> object:
        """Embed a list of crops, or an array with a batch at the engine's size."""
        if isinstance(images, list):
            return self._session(images)
        if id(images) not in self._ready:
            self._ready[id(images)] = make_ready(self._session, images)
        return self._session(self._ready[id(images)])


def _row(outcome: Outcome, info: EngineInfo, name: str) -> Row:
    input_type, batch = name.split()
    median = outcome.median_ms(name)
    return Row(
        engine=outcome.name,
        target=info.target,
        runtime=find_target(info.target).version(),
        threads=outcome.threads,
        device=info.device or "cpu",
        precision=str(info.precision),
        batch=int(batch),
        input=input_type,
        median_ms=round(median, 3),
        p99_ms=round(outcome.p99_ms(name), 3),
        images_s=round(1e3 * int(batch) / median, 1),
        load_s=round(outcome.load_s, 3),
        start_s=round(outcome.start_s, 3),
        peak_mb=round(outcome.peak_mb, 1),
    )

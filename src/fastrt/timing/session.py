"""How long a session's calls take."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array
from fastrt.engine.session import Session
from fastrt.errors import EngineError
from fastrt.images.drawing import draw_person
from fastrt.timing.processes import warm_up

FEWEST_CALLS = 5


@dataclass(frozen=True)
class Timing:
    """What was measured; ``print(timing)`` shows it.

    Attributes:
        batch: images a call.
        median_ms: milliseconds of a call.
        p99_ms: what one call in a hundred exceeds.
        images_s: images a second, by the median.
    """

    batch: int
    median_ms: float
    p99_ms: float
    images_s: float

    def __str__(self) -> str:
        return (
            f"batch {self.batch}: {self.median_ms:.3f} ms a call, one in a hundred above {self.p99_ms:.3f} ms;"
            f" {self.images_s:.1f} images/s"
        )


def benchmark(session: Session, batch: int = 1, *, seconds: float = 2.0) -> Timing:
    """Time calls of a session with a batch that is ready, one call after the other, in this process.

    Images are drawn people at the engine's size, and lie where they reach the engine soonest. To compare engines,
    ``fastrt benchmark`` gives each a process of its own and lets them take turns.

    Args:
        session: what `fastrt.load` gave.
        batch: images a call.
        seconds: for how long, after as long a warm-up, of two seconds at most; five calls are made at least.

    Raises:
        EngineError: a batch of less than one image, or the session is closed.
    """
    if batch < 1:
        raise EngineError(f"a batch of {batch} images cannot be timed; at least 1 is wanted")
    ready = make_ready(session, np.stack([draw_person(i, 0, *session.info.image_size) for i in range(batch)]))
    warm_up(lambda: session(ready), min(seconds, 2.0))
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < FEWEST_CALLS or time.perf_counter() < until:
        start = time.perf_counter()
        session(ready)
        times.append(1e3 * (time.perf_counter() - start))
    median = statistics.median(times)
    return Timing(batch, median, float(np.percentile(times, 99)), 1e3 * batch / median)


def make_ready(session: Session, images: Array) -> Array:
    """Images ``(n, H, W, 3)`` at the engine's size, put where they reach the engine soonest."""
    pinned = session.pinned(len(images))
    if pinned.dtype != np.uint8:
        return images
    pinned[:] = images
    return pinned

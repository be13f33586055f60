"""Measures the latency and throughput of one session."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array
from fastrt.engine.numbers import check_count, check_seconds
from fastrt.engine.session import Session
from fastrt.errors import EngineError
from fastrt.images.drawing import draw_person
from fastrt.signatures import checked
from fastrt.timing.clock import time_calls, warm_up

LARGEST_BATCH = 4096
"""The images of a batch are drawn first, and stay in memory."""

FEWEST_CALLS = 5
"""Calls that are measured even if they take longer than the requested time."""


@dataclass(frozen=True)
class Timing:
    """Latency and throughput of a session; ``print(timing)`` shows them.

    Attributes:
        batch: images per call.
        median_ms: median latency of a call in ms.
        p99_ms: 99th percentile of the latency in ms.
        images_s: images per second at the median latency.
    """

    batch: int
    median_ms: float
    p99_ms: float
    images_s: float

    def __str__(self) -> str:
        return (
            f"batch {self.batch}: median {self.median_ms:.3f} ms, p99 {self.p99_ms:.3f} ms;"
            f" {self.images_s:.1f} images/s"
        )


@checked(EngineError, "session")
def benchmark(session: Session, batch: int = 1, *, seconds: float = 2.0) -> Timing:
    """Time consecutive calls of a session in this process.

    Images are synthetic people at the engine's image size, in the memory from which the engine reads fastest. To
    compare engines, use ``fastrt benchmark``: it runs each in its own process, in alternating rounds.

    Args:
        session: a session of `fastrt.load`.
        batch: images per call.
        seconds: duration of the measurement, at least 5 calls. The warm-up takes as long, at most 2 s.

    Raises:
        EngineError: ``batch`` is not a whole number from 1 to 4096, ``seconds`` is not a finite number of at least 0,
            or the session is closed.
    """
    batch = check_count(batch, "benchmark: batch", LARGEST_BATCH)
    seconds = check_seconds(seconds, "benchmark: seconds")
    ready = make_ready(session, np.stack([draw_person(i, 0, *session.info.image_size) for i in range(batch)]))
    warm_up(lambda: session(ready), min(seconds, 2.0))
    times = [1e3 * spent for spent in time_calls(lambda: session(ready), FEWEST_CALLS, seconds)]
    median = statistics.median(times)
    return Timing(batch, median, float(np.percentile(times, 99)), 1e3 * batch / median)


def make_ready(session: Session, images: Array) -> Array:
    """Copy images ``(n, H, W, 3)`` at the engine's size to `Session.pinned` memory, if the engine takes uint8."""
    pinned = session.pinned(len(images))
    if pinned.dtype != np.uint8:
        return images
    pinned[:] = images
    return pinned

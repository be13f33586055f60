"""Compares the throughput of loaded sessions in alternating rounds, in this process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from fastrt.arrays import Array
from fastrt.engine.session import Session
from fastrt.timing.clock import time_in_turn

Name = TypeVar("Name")

BATCHES = (1, 8)
ROUNDS = 15
"""Measured calls per engine and batch. Rounds alternate, so a change of clock speed affects all engines alike."""


def compare_speed(
    sessions: Mapping[Name, Session],
    images: Array,
    advance: Callable[[str, int, int], None] = lambda *_: None,
    batches: Sequence[int] = BATCHES,
) -> dict[Name, dict[int, float]]:
    """Measure images per second of each engine and batch: the median of `ROUNDS` calls in alternating rounds.

    Args:
        sessions: by name.
        images: ``(n, ...)`` as the engines take them; repeated to fill a batch.
        advance: called with the phase, steps done and total steps.
        batches: batch sizes to measure.
    """
    rates: dict[Name, dict[int, float]] = {name: {} for name in sessions}
    for i, size in enumerate(batches):
        batch = np.resize(images, (size, *images.shape[1:]))
        works = {name: partial(session, batch) for name, session in sessions.items()}
        time_in_turn(works, discarded=0)  # the first calls allocate memory
        for name, times in time_in_turn(works, rounds=ROUNDS, discarded=0).items():
            rates[name][size] = round(size / statistics.median(times), 2)
        advance("measuring speed", i + 1, len(batches))
    return rates

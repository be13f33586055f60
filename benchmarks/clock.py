"""The timing loop of benchmarks that call functions in their own process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Name = TypeVar("Name")
Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Time one call; returns seconds and the result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def time_in_turn(
    works: Mapping[Name, Callable[[], object]], *, rounds: int = 1, calls: int = 1
) -> dict[Name, list[float]]:
    """Time works in alternating rounds: the median seconds of a call in each round, by work.

    One call precedes each turn and is not counted, because the other works have filled the caches.

    >>> order = []
    >>> found = time_in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    >>> "".join(order), len(found["a"])
    ('aabbaabb', 2)
    """
    medians: dict[Name, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            work()
            medians[name].append(statistics.median(timed(work)[0] for _ in range(calls)))
    return medians

"""The timing loop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Name = TypeVar("Name")
Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Time one call; returns seconds and the result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def time_calls(call: Callable[[], object], calls: int, seconds: float = 0.0) -> list[float]:
    """Time consecutive calls: at least ``calls``, and until ``seconds`` have passed; returns the seconds of each."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < calls or time.perf_counter() < until:
        times.append(timed(call)[0])
    return times


def warm_up(call: Callable[[], object], seconds: float = 2.0) -> None:
    """Repeat a call for some seconds, at least twice, until clocks and caches are steady; a GPU takes about 1 s."""
    time_calls(call, 2, seconds)


def time_in_turn(
    works: Mapping[Name, Callable[[], object]], *, rounds: int = 1, calls: int = 1, discarded: int = 1
) -> dict[Name, list[float]]:
    """Time works in alternating rounds, so that a change of clock speed affects all alike.

    Args:
        works: by name.
        rounds: number of rounds.
        calls: measured calls per round.
        discarded: calls before them that do not count, because the other works have filled the caches.

    Returns:
        The median seconds of a call in each round, by work.

    >>> order = []
    >>> found = time_in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    >>> "".join(order), len(found["a"])
    ('aabbaabb', 2)
    """
    medians: dict[Name, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            time_calls(work, discarded)
            medians[name].append(statistics.median(time_calls(work, calls)))
    return medians

"""A contest: each contestant in a process of its own, all of them in turn, round after round.

A machine that changes its mind then does so for all alike, and what one has loaded costs the others nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, ClassVar

import numpy as np

from fastrt.errors import FastrtError

ROUNDS = 7
SECONDS = 2.0
"""For each contestant and work, of all rounds together."""

PAUSE = 0.2
"""Seconds before each turn: the threads of some runtimes keep spinning for a while, at the next one's cost."""

Run = Callable[[Any], object]
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        name: for the table.
        make: loads it and returns what runs a batch; called in its own process, so it must be importable by name.
    """

    name: str
    make: Callable[[], Run]


@dataclass(frozen=True)
class Outcome:
    """How one contestant did.

    Attributes:
        name: the contestant's.
        start_s: seconds from the start of its process until it was ready.
        load_s: of these, those that loading took, imports included.
        peak_mb: the most memory that its process held, MB of 10^6 bytes.
        threads: by how many it computes, if what runs its batches has an attribute of that name.
        rounds: milliseconds of each call, by work, by round.
        error: why it did not take part.
    """

    name: str
    start_s: float = 0.0
    load_s: float = 0.0
    peak_mb: float = 0.0
    threads: int | None = None
    rounds: Mapping[str, list[list[float]]] | None = None
    error: str | None = None

    def times(self, work: str) -> list[float]:
        """Milliseconds of all calls."""
        assert self.rounds is not None
        return [ms for found in self.rounds[work] for ms in found]

    def median_ms(self, work: str) -> float:
        """The median."""
        return statistics.median(self.times(work))

    def p99_ms(self, work: str) -> float:
        """What one call in a hundred exceeds."""
        return float(np.percentile(self.times(work), 99))


def compete(
    contestants: Sequence[Contestant],
    works: Mapping[str, Any],
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    advance: Advance = lambda *_: None,
) -> list[Outcome]:
    """Let contestants do works in turn.

    Args:
        contestants: who takes part; one that fails to load, or to work, is left out, and its outcome says why.
        works: what each is called with, by name.
        rounds: how often each has its turn.
        seconds: for each contestant and work, of all turns together; each turn has one call at least.
        advance: called with turns done and turns in all.
    """
    places = [_Place(contestant) for contestant in contestants]
    total, done = rounds * len(places) * len(works), 0
    try:
        for place in places:
            place.begin(works, seconds / rounds)
        for _ in range(rounds):
            for work in works:
                for place in places:
                    place.turn(work)
                    done += 1
                    advance(done, total)
        return [place.outcome() for place in places]
    finally:
        for place in places:
            place.close()


class _Place:
    """A contestant's process, and what was seen of it."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._rounds: dict[str, list[list[float]]] = {}
        self._repeats: dict[str, int] = {}
        self._start_s = self._load_s = 0.0
        self._error: str | None = None

    def begin(self, works: Mapping[str, Any], slot: float) -> None:
        """Load it, and find how often each work fits into a turn of ``slot`` seconds."""
        start = time.perf_counter()
        self._load_s = self._ask(_load, self._contestant.make) or 0.0
        self._start_s = time.perf_counter() - start
        for name, work in works.items():
            self._rounds[name] = []
            self._repeats[name] = self._ask(_take, name, work, slot) or 1

    def turn(self, work: str) -> None:
        time.sleep(PAUSE)
        times = self._ask(_time, work, self._repeats[work])
        if times is not None:
            self._rounds[work].append(times)

    def outcome(self) -> Outcome:
        if self._error is not None:
            return Outcome(self._contestant.name, error=self._error)
        peak = self._ask(_peak_mb) or 0.0
        threads = self._ask(_threads)
        return Outcome(self._contestant.name, self._start_s, self._load_s, peak, threads, self._rounds)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns in the contestant's process; None once it has failed."""
        if self._error is not None:
            return None
        try:
            return self._pool.submit(function, *arguments).result()
        except FastrtError as error:
            self._error = str(error)
        except Exception as error:  # whatever a contestant does, the others go on
            self._error = f"{type(error).__name__}: {error}"
        return None


class _Here:
    """What a contestant's process holds."""

    run: Run
    works: ClassVar[dict[str, Any]] = {}


def _load(make: Callable[[], Run]) -> float:
    start = time.perf_counter()
    _Here.run = staticmethod(make())
    return time.perf_counter() - start


def _take(name: str, work: Any, slot: float) -> int:
    """Keep a work, warm up, and say how often it fits into a turn."""
    _Here.works[name] = work
    warm_up(lambda: _Here.run(work), min(slot, 1.0))
    return max(1, round(slot * 1e3 / statistics.median(_time(name, 3))))


def _time(name: str, repeats: int) -> list[float]:
    work = _Here.works[name]
    _Here.run(work)  # after the pause, and after others had the caches
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        _Here.run(work)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _threads() -> int | None:
    return getattr(_Here.run, "threads", None)


def _peak_mb() -> float:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def warm_up(work: Callable[[], object], seconds: float = 2.0) -> None:
    """Do what will be timed, twice at least, until clocks and caches are as they will be; a GPU takes a second."""
    until = time.perf_counter() + seconds
    work()
    work()
    while time.perf_counter() < until:
        work()

"""Interleaved benchmark: one process per candidate, measured in alternating rounds.

A change of clock speed affects all candidates alike, and the libraries of one candidate do not slow the others.
"""

from __future__ import annotations

import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from typing import Any, ClassVar, TypeVar

import numpy as np

from fastrt.errors import FastrtError
from fastrt.timing.clock import time_calls, timed, warm_up

ROUNDS = 7
SECONDS = 2.0
"""Measured seconds per candidate and input, all rounds together."""

PAUSE = 0.2
"""Seconds before each measurement. Some thread pools spin after a call: 200 ms is Intel OpenMP's KMP_BLOCKTIME."""

Run = Callable[[Any], object]
Advance = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Candidate:
    """A participant of an interleaved benchmark.

    Attributes:
        name: its name in tables.
        make: loads it and returns the function that runs a batch. It is called in the candidate's process, so it must
            be importable by name.
    """

    name: str
    make: Callable[[], Run]


@dataclass(frozen=True)
class Outcome:
    """Measurements of one candidate.

    Attributes:
        name: the candidate's name.
        start_s: seconds from the start of its process until it was loaded.
        load_s: the part of ``start_s`` for loading, imports included.
        peak_mb: peak memory of its process, MB of 10^6 bytes; 0 on Windows, where it is not measured.
        threads: the attribute ``threads`` of the function that runs a batch, if it has one.
        rounds: milliseconds of each call, by input, by round.
        error: the error message, if the candidate failed.
    """

    name: str
    start_s: float = 0.0
    load_s: float = 0.0
    peak_mb: float = 0.0
    threads: int | None = None
    rounds: Mapping[str, list[list[float]]] | None = None
    error: str | None = None

    def times(self, name: str) -> list[float]:
        """Return milliseconds of all calls with an input."""
        assert self.rounds is not None
        return [ms for found in self.rounds[name] for ms in found]

    def median_ms(self, name: str) -> float:
        """Return the median latency with an input."""
        return statistics.median(self.times(name))

    def p99_ms(self, name: str) -> float:
        """Return the 99th percentile of the latency with an input."""
        return float(np.percentile(self.times(name), 99))


def run_interleaved(
    candidates: Sequence[Candidate],
    inputs: Mapping[str, Any],
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    advance: Advance = lambda *_: None,
) -> list[Outcome]:
    """Measure candidates in alternating rounds.

    Args:
        candidates: participants. One that fails is skipped from then on, and its outcome has the error.
        inputs: arguments of the candidates, by name.
        rounds: number of rounds.
        seconds: measured time per candidate and input, all rounds together. Each round has at least one call.
        advance: called with measurements done and total measurements.
    """
    processes = [_CandidateProcess(candidate) for candidate in candidates]
    total, done = rounds * len(processes) * len(inputs), 0
    try:
        for process in processes:
            process.start(inputs, seconds / rounds)
        for _ in range(rounds):
            for name in inputs:
                for process in processes:
                    process.measure(name)
                    done += 1
                    advance(done, total)
        return [process.outcome() for process in processes]
    finally:
        for process in processes:
            process.close()


class _CandidateProcess:
    """The process of a candidate, and its measurements."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._rounds: dict[str, list[list[float]]] = {}
        self._repeats: dict[str, int] = {}
        self._start_s = self._load_s = 0.0
        self._error: str | None = None

    def start(self, inputs: Mapping[str, Any], slot: float) -> None:
        """Load the candidate, and find how many calls with each input fit into ``slot`` seconds."""
        with self._recorded_error():
            self._start_s, self._load_s = timed(lambda: self._call(_load, self._candidate.make))
            for name, value in inputs.items():
                self._rounds[name] = []
                self._repeats[name] = self._call(_prepare, name, value, slot)

    def measure(self, name: str) -> None:
        if self._error is not None:
            return
        time.sleep(PAUSE)
        with self._recorded_error():
            self._rounds[name].append(self._call(_time, name, self._repeats[name]))

    def outcome(self) -> Outcome:
        name = self._candidate.name
        if self._error is None:
            with self._recorded_error():
                peak, threads = self._call(_peak_mb), self._call(_threads)
                return Outcome(name, self._start_s, self._load_s, peak, threads, self._rounds)
        return Outcome(name, error=self._error)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def _recorded_error(self) -> Iterator[None]:
        """Record an error of the candidate, so that the other candidates continue."""
        try:
            yield
        except FastrtError as error:
            self._error = str(error)
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in the candidate's process."""
        with _without_interrupts():
            future = self._pool.submit(function, *arguments)  # the first starts the process
        return future.result()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes that start in the block ignore Ctrl-C: a terminal sends it to all, and this process ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """State of a candidate's process."""

    run: Run
    inputs: ClassVar[dict[str, Any]] = {}


def _load(make: Callable[[], Run]) -> float:
    seconds, run = timed(make)
    _Worker.run = staticmethod(run)
    return seconds


def _prepare(name: str, value: Any, slot: float) -> int:
    """Keep an input, warm up, and return how many calls with it fit into ``slot`` seconds."""
    _Worker.inputs[name] = value
    warm_up(lambda: _Worker.run(value), min(slot, 1.0))
    return max(1, round(slot * 1e3 / statistics.median(_time(name, 3))))


def _time(name: str, repeats: int) -> list[float]:
    value = _Worker.inputs[name]
    _Worker.run(value)  # not measured: the pause and the other candidates have cooled the caches
    return [1e3 * seconds for seconds in time_calls(lambda: _Worker.run(value), repeats)]


def _threads() -> int | None:
    return getattr(_Worker.run, "threads", None)


def _peak_mb() -> float:
    try:
        import resource
    except ImportError:  # on Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6

"""Reads inputs of one kind in a process of its own, whose CPU time and memory are limited."""

from __future__ import annotations

import logging
import mmap
import random
import resource
import signal
import time
import traceback
import warnings
import zlib
from pathlib import Path
from types import TracebackType

import PIL.Image  # noqa: F401  # loaded before memory is measured

from fastrt.errors import FastrtError
from fuzz.kinds import KINDS, Kind
from fuzz.mutate import mutate

SECONDS = 5
"""CPU time of an input. A process that takes longer, or waits for ten times as long, is killed by a signal."""

MEMORY = 1 << 30
"""Growth of resident memory during one input, in bytes."""

CORPUS = 400
"""Inputs that a worker keeps because they took a new path through the code."""

FAST = 0.01
"""CPU time of an input that may become part of the corpus, in seconds: slow ones would make all that follow slow."""

PAGE = resource.getpagesize()
INPUT, COUNT = "input", "count"

Trace = tuple[str, ...]
"""An error's type and the lines that raised it: inputs with the same one fail for the same reason."""


class Worker:
    """Draws, reads and judges inputs.

    Attributes:
        kind: the kind of the inputs.
        folder: where the input is written; it is still there after a crash.
        found: where inputs that fail are kept, with the traceback.
    """

    def __init__(self, name: str, folder: Path, found: Path, seed: int) -> None:
        self.kind: Kind = KINDS[name]
        self.folder = folder
        self.found = found / name
        self.path = folder / f"{INPUT}{self.kind.suffix}"
        self._rng = random.Random(seed)
        self._corpus = self.kind.seeds()
        self._seen: set[Trace] = set()
        self._failed: set[Trace] = set()

    def work(self, end: float) -> None:
        """Read inputs until ``end``, of the clock `time.monotonic`; their number is in the file of the count."""
        for content in tuple(self._corpus):
            self._read(content)
        _limit_memory()
        with (self.folder / COUNT).open("r+b") as file, mmap.mmap(file.fileno(), 8) as count:
            done = 0
            while time.monotonic() < end:
                content = mutate(self._rng, self._corpus, self.kind.own)
                self._judge(content)
                done += 1
                count[:] = done.to_bytes(8, "little")

    def _judge(self, content: bytes) -> None:
        begin = time.process_time()
        error = self._read(content)
        is_fast = time.process_time() - begin < FAST
        trace = _describe(error)
        if error is None or not is_failure(error):
            if trace not in self._seen and is_fast and len(self._corpus) < CORPUS:
                self._corpus.append(content)
            self._seen.add(trace)
        elif trace not in self._failed:
            self._failed.add(trace)
            self._keep(self._minimise(content, trace), error)

    def _read(self, content: bytes) -> BaseException | None:
        self.path.write_bytes(content)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
        error = read(self.kind, self.path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return error

    def _minimise(self, content: bytes, path: Trace) -> bytes:
        """Cut out all that the failure does not need, for at most five seconds."""
        end = time.monotonic() + 5
        size = len(content) // 2
        while size and time.monotonic() < end:
            start = 0
            while start < len(content) and time.monotonic() < end:
                shorter = content[:start] + content[start + size :]
                if _describe(self._read(shorter)) == path:
                    content = shorter
                else:
                    start += size
            size //= 2
        return content

    def _keep(self, content: bytes, error: BaseException) -> None:
        self.found.mkdir(parents=True, exist_ok=True)
        stem = f"{type(error).__name__}-{zlib.crc32(repr(_describe(error)).encode()):08x}"
        (self.found / f"{stem}{self.kind.suffix}").write_bytes(content)
        text = "".join(traceback.format_exception(error))
        (self.found / f"{stem}.traceback").write_text(text, "utf-8", "backslashreplace")


def read(kind: Kind, path: Path) -> BaseException | None:
    """Read a file. Returns what was raised; a `MemoryError` if it took more than `MEMORY`."""
    before, peak = _resident_memory(), _peak_memory()
    error: BaseException | None = None
    try:
        kind.read(path)
    except Exception as caught:  # whatever it is, it is judged
        error = caught
    if (now := _peak_memory()) > peak and now - before > MEMORY:
        return MemoryError(f"{(now - before) >> 20} MiB for one input")
    return error


def is_failure(error: BaseException) -> bool:
    """Return True for an error that is not fastrt's, and for one of fastrt that hides a lack of memory."""
    if not isinstance(error, FastrtError):
        return True
    cause = error.__cause__ or error.__context__
    return isinstance(cause, MemoryError) and _is_deep(cause)


def _is_deep(error: BaseException) -> bool:
    """Return False for the MemoryError by which Python's parser refuses deeply nested text."""
    return "parser" not in str(error) and "s_push" not in str(error)


def _describe(error: BaseException | None) -> Trace:
    found: list[str] = []
    while error is not None:
        found.append(type(error).__name__)
        trace: TracebackType | None = error.__traceback__
        while trace is not None:
            found.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return tuple(found[:60])


def _limit_memory() -> None:
    """Let allocations fail that would fill the host."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (size + 3 * MEMORY, size + 3 * MEMORY))


def _resident_memory() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # read before every input
        return int(file.read().split()[1]) * PAGE


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def work(name: str, folder: Path, found: Path, seed: int, end: float) -> None:
    """Run a worker to its end."""
    warnings.simplefilter("ignore")
    logging.getLogger("fastrt").addHandler(logging.NullHandler())
    logging.getLogger("fastrt").propagate = False
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Worker(name, folder, found, seed).work(end)

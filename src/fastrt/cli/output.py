"""Output of commands: results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console

from fastrt.engine.checks import Report
from fastrt.errors import FastrtError

logger = logging.getLogger("fastrt")

LOG_WIDTH = 160


class StrictError(FastrtError):
    """A note of a command that runs with ``--strict``."""


def result_console() -> Console:
    """Console for results; wide if stdout is not a terminal, so that a log has complete tables."""
    return _console(width=None if is_terminal(sys.stdout) else LOG_WIDTH)


def progress_console() -> Console:
    """Console for progress, notes and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console without control characters, unless it is a terminal; ``FORCE_COLOR`` does not make it one."""
    return Console(
        stderr=stderr,
        width=width,
        force_terminal=is_terminal(sys.stderr if stderr else sys.stdout),
        soft_wrap=True,
        markup=False,
        emoji=False,
        highlight=False,
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Return True if a stream is a terminal; a stream that was closed before the start is None."""
    return stream is not None and stream.isatty()


def say(text: str) -> None:
    """Print a line of the result."""
    result_console().print(text)


def say_result(result: Mapping[str, object], text: str, as_json: bool) -> None:
    """Print the result of a command: as text for people, or as JSON."""
    if as_json:
        say_json(result)
    else:
        say(text)


def say_json(value: Mapping[str, object]) -> None:
    """Print a result as one JSON object; a number that is not finite is null, and a path a string."""
    sys.stdout.write(json.dumps(_plain(value), indent=1, allow_nan=False) + "\n")


def list_checks(report: Report) -> list[dict[str, object]]:
    """List the checks of an engine, for JSON."""
    return [{"name": check.name, "passed": check.passed, "figures": check.figures} for check in report.checks]


def _plain(value: object) -> object:
    """Convert a value to what JSON can express."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


class Notes(logging.Handler):
    """Prints the warnings of the logger ``fastrt``; if strict, raises the first as `StrictError`."""

    def __init__(self, *, is_strict: bool = False) -> None:
        super().__init__(logging.WARNING)
        self.is_strict = is_strict

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning on stderr.

        Raises:
            StrictError: the command is strict. It reaches the caller of the logger, and ends the command there.
        """
        if self.is_strict:
            raise StrictError(record.getMessage())
        progress_console().print(f"note: {record.getMessage()}")


def say_note(text: str) -> None:
    """Log a decision or an omission as a warning; `Notes` prints it."""
    logger.warning("%s", text)


def say_error(text: str) -> None:
    """Print the reason why a command failed."""
    progress_console().print(f"error: {text}")

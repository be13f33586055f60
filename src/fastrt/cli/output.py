"""Output of commands: results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

logger = logging.getLogger("fastrt")

LOG_WIDTH = 160


def result_console() -> Console:
    """Console for results; wide if stdout is not a terminal, so that a log has complete tables."""
    return Console(
        soft_wrap=True, markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH
    )


def progress_console() -> Console:
    """Console for progress, notes and errors."""
    return Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)


def progress_bar(rate: str | None = None) -> Progress:
    """A progress bar that disappears when done; drawn only on a terminal. ``rate`` names the counted items."""
    console = progress_console()
    columns = [*Progress.get_default_columns(), *([_Rate(rate)] if rate else [])]
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class _Rate(ProgressColumn):
    """The column with items per second."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} {self.what}/s")


@contextmanager
def progress_of_phases() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per phase; yields a callback that takes the phase's name, steps done and steps in all."""
    tasks: dict[str, TaskID] = {}
    with progress_bar() as progress:

        def advance(phase: str, done: int, steps: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase.lower(), total=steps)
            progress.update(tasks[phase], completed=done)

        yield advance


def say(text: str) -> None:
    """Print a line of the result."""
    result_console().print(text)


def say_json(value: object) -> None:
    """Print a result as JSON."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


class Notes(logging.Handler):
    """Prints the warnings of the logger ``fastrt``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning on stderr."""
        progress_console().print(f"note: {record.getMessage()}")


def say_note(text: str) -> None:
    """Log a decision or an omission as a warning; `Notes` prints it."""
    logger.warning("%s", text)


def say_error(text: str) -> None:
    """Print the reason why a command failed."""
    progress_console().print(f"error: {text}")

"""Progress of commands on stderr: bars on a terminal, lines in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from fastrt.cli import interrupts
from fastrt.cli.output import progress_console

PAUSE_S = 10.0
"""Seconds between two lines of a stage, in a log."""


def progress_bar(rate: str | None = None) -> Progress | ProgressLines:
    """Show progress: bars that disappear when done; without a terminal, lines. ``rate`` names the counted items."""
    console = progress_console()
    if not console.is_terminal or console.is_dumb_terminal:
        return ProgressLines()
    columns = [*Progress.get_default_columns(), *([_Rate(rate)] if rate else [])]
    return _Bars(*columns, console=console, transient=True)


class _Bars(Progress):
    """Bars that are also a point to stop at after Ctrl-C."""

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        interrupts.check()
        super().advance(task_id, advance)


class _Rate(ProgressColumn):
    """The column with items per second."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} {self.what}/s")


class ProgressLines:
    """Progress for logs: a line for each stage, and one every `PAUSE_S` seconds while it lasts.

    The methods are those of rich's `Progress` that commands use.
    """

    def __init__(self) -> None:
        self._stages: list[_Stage] = []
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> ProgressLines:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()

    def add_task(self, description: str, total: float | None = None, completed: float = 0) -> TaskID:
        """Begin a stage and print its line."""
        interrupts.check()
        with self._lock:
            self._stages.append(_Stage(description, total, completed))
            self._stages[-1].say()
            return TaskID(len(self._stages) - 1)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count ``advance`` more steps of a stage."""
        interrupts.check()
        with self._lock:
            self._stages[task_id].completed += advance

    def update(self, task_id: TaskID, *, total: float | None = None, completed: float | None = None) -> None:
        """Set the steps of a stage."""
        interrupts.check()
        with self._lock:
            stage = self._stages[task_id]
            stage.total = stage.total if total is None else total
            stage.completed = stage.completed if completed is None else completed

    def _repeat(self) -> None:
        """Print the latest stage, now and then."""
        while not self._is_over.wait(PAUSE_S):
            with self._lock:
                if self._stages:
                    self._stages[-1].say()


class _Stage:
    """A stage: its name, its steps, and when it began."""

    def __init__(self, description: str, total: float | None, completed: float) -> None:
        self.description = description
        self.total = total
        self.completed = completed
        self._began = time.monotonic()

    def say(self) -> None:
        """Print the stage as a line."""
        steps = f": {self.completed:.0f} of {self.total:.0f}" if self.total else ""
        seconds = time.monotonic() - self._began
        passed = f", {seconds:.0f} s" if seconds >= 1 else ""
        progress_console().print(f"{self.description}{steps}{passed}")


@contextmanager
def progress_of_phases() -> Iterator[Callable[[str, int, int], None]]:
    """Show one stage per phase; yields a callback that takes the phase's name, steps done and steps in all."""
    tasks: dict[str, TaskID] = {}
    with progress_bar() as progress:

        def advance(phase: str, done: int, steps: int) -> None:
            interrupts.check()
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase.lower(), total=steps)
            progress.update(tasks[phase], completed=done)

        yield advance


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Show a stage whose steps cannot be counted."""
    with progress_bar() as progress:
        progress.add_task(name, total=None)
        yield

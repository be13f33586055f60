"""Fills a folder, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fastrt.errors import FastrtError, OutputError
from fastrt.files import writing

UNFINISHED = ".unfinished."
"""Prefix of a temporary folder in the folder that is being filled."""


@contextmanager
def filled_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder in ``folder``; move its content up when the block ends without error.

    ``folder`` is created, with its parents, and removed again after an error. It may exist, if it is empty or has only
    what an ended process left of an earlier call. Errors of the block name ``folder``, not the temporary one.

    Raises:
        OutputError: the folder is not empty or no folder, or a file cannot be written or moved.
    """
    with writing(folder), ExitStack() as undo:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; expected an empty or a new folder. Name another one.")
        if not folder.exists():
            undo.callback(_remove_empty, folder)
            folder.mkdir(parents=True)
        leftovers = list(folder.iterdir())
        if not all(entry.name.startswith(UNFINISHED) for entry in leftovers):
            raise OutputError(f"{folder}: is not empty; expected an empty or a new folder. Name another one.")
        for leftover in leftovers:
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as temporary:
            with _naming(folder, temporary):
                yield Path(temporary)
            for entry in list(Path(temporary).iterdir()):
                entry.replace(folder / entry.name)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _naming(folder: Path, temporary: str) -> Iterator[None]:
    """Replace the temporary folder in the messages of errors."""
    try:
        yield
    except FastrtError as error:
        error.args = tuple(str(argument).replace(temporary, str(folder)) for argument in error.args)
        raise

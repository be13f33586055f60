"""Fills a folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fastrt.errors import FastrtError, OutputError
from fastrt.files import clear_leftovers, locked, temporary_folder, writing


@contextmanager
def filled_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder in ``folder``; move its content up when the block ends without error.

    ``folder`` is created, with its parents, and removed again after an error. It may exist, if it is empty or has only
    what an ended process left of an earlier call. Errors of the block name ``folder``, not the temporary one.

    Raises:
        OutputError: the folder is not empty, is no folder or is in use by another process, or a file cannot be
            written or moved.
    """
    with writing(folder), ExitStack() as undo:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; expected an empty or a new folder. Name another one.")
        if not folder.exists():
            undo.callback(_remove_empty, folder)
            folder.mkdir(parents=True)
        undo.enter_context(locked(folder))
        clear_leftovers(folder)
        if any(folder.iterdir()):
            raise OutputError(f"{folder}: is not empty; expected an empty or a new folder. Name another one.")
        with temporary_folder(folder, folder.name) as temporary:
            with _naming(folder, str(temporary)):
                yield temporary
            for entry in list(temporary.iterdir()):
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

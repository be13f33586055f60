"""Atomic outputs: a file appears completely written or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fastrt.errors import FastrtError, OutputError

ESCAPED = "backslashreplace"
"""Codec error handler for file names that are not valid UTF-8. JSON escapes them in the same way."""

UNFINISHED = ".unfinished."
"""Prefix of temporary folders in a folder that is being filled."""


def check_suffix(path: Path, *suffixes: str) -> None:
    """Raise `OutputError` unless the suffix of an output is one of ``suffixes``, in upper or lower case."""
    if path.suffix.lower() not in suffixes:
        found = f"suffix {path.suffix}" if path.suffix else "no suffix"
        *most, last = suffixes
        expected = f"{', '.join(most)} or {last}" if most else last
        raise OutputError(f"{path}: {found}; expected {expected}. Rename the output.")


def check_place(path: Path) -> None:
    """Raise `OutputError` if ``path`` cannot be created. Call it before work whose result would be lost."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: folder {path.parent} does not exist; expected an existing folder. Create it first.")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; expected a file. Name a file in it.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into an `OutputError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); expected a writable folder with free space."
        ) from error


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path in a temporary folder; move what was written there to ``path`` when the block ends without error.

    Companion files written beside the temporary path are moved too. In that case an old ``path`` is deleted first and
    the new one is moved last, so an old file never stands beside a new companion.

    Raises:
        OutputError: the folder does not exist, or a file cannot be written or moved.
    """
    path = Path(path)
    check_place(path)
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        temporary = Path(folder) / path.name
        with _naming(path, temporary):
            yield temporary
        companions = [file for file in Path(folder).iterdir() if file != temporary]
        if companions:
            path.unlink(missing_ok=True)
        for file in companions:
            file.replace(path.parent / file.name)
        temporary.replace(path)


@contextmanager
def filled_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder in ``folder``; move its content up when the block ends without error.

    ``folder`` is created, with its parents, and removed again after an error. It may exist, if it is empty or has only
    what an ended process left of an earlier call.

    Raises:
        OutputError: the folder is not empty or no folder, or a file cannot be written or moved.
    """
    with writing(folder), ExitStack() as undo:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; expected an empty or a new folder. Name another one.")
        if not folder.exists():
            undo.callback(_remove_empty, folder)
            folder.mkdir(parents=True)
        if any(not entry.name.startswith(UNFINISHED) for entry in folder.iterdir()):
            raise OutputError(f"{folder}: is not empty; expected an empty or a new folder. Name another one.")
        for leftover in list(folder.iterdir()):
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as temporary, _naming(folder, Path(temporary)):
            yield Path(temporary)
            for entry in list(Path(temporary).iterdir()):
                entry.replace(folder / entry.name)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors of the block name the path that was asked for, not the temporary one."""
    try:
        yield
    except FastrtError as error:
        error.args = tuple(str(argument).replace(str(temporary), str(path)) for argument in error.args)
        raise

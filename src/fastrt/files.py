"""Atomic outputs: a file appears completely written or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastrt.errors import OutputError

ESCAPED = "backslashreplace"
"""Codec error handler for file names that are not valid UTF-8. JSON escapes them in the same way."""


def check_place(path: Path) -> None:
    """Raise `OutputError` if ``path`` cannot be created. Call it before work whose result would be lost."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: folder {path.parent} does not exist; expected an existing folder. Create it first.")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; expected a file. Name a file in it.")
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}."):
        pass  # permissions do not tell whether a folder is writable: it may be read-only for other reasons


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
        yield temporary
        companions = [file for file in Path(folder).iterdir() if file != temporary]
        if companions:
            path.unlink(missing_ok=True)
        for file in companions:
            file.replace(path.parent / file.name)
        temporary.replace(path)

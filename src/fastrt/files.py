"""Outputs that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastrt.errors import OutputError

ESCAPED = "backslashreplace"
"""What becomes, in a text, of names of files that are no UTF-8; JSON escapes them in the same way."""


def check_place(path: Path) -> None:
    """Raise `OutputError` if no file can come to stand there; before work that would be lost."""
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file")


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path of that name in an empty folder, and move what was written there into place if the block ends well.

    For a file that others may come beside. If they do, an old file of that name goes first and the new one comes last,
    so no old file ever stands beside another's new one.

    Raises:
        OutputError: the folder does not exist, or a file cannot be written or moved.
    """
    path = Path(path)
    check_place(path)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            companions = [file for file in Path(folder).iterdir() if file != temporary]
            if companions:
                path.unlink(missing_ok=True)
            for file in companions:
                file.replace(path.parent / file.name)
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

"""Outputs that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastrt.errors import OutputError


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and move it into place if the block ends well.

    Args:
        path: where the finished file is to stand; its folder must exist.

    Yields:
        A path in the same folder with the same suffix that does not exist yet.

    Raises:
        OutputError: the folder does not exist, or the file cannot be written or moved.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file")
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)

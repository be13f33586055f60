"""Paths that a caller gives, and the files behind them."""

from __future__ import annotations

import errno
import os
from collections.abc import Hashable
from pathlib import Path

from fastrt.errors import FastrtError


def as_path(value: object, what: str, error: type[FastrtError]) -> Path:
    """Return ``value`` as a path; it need not exist.

    Raises:
        FastrtError: of the type ``error``; no file can have this path. ``what`` stands in the message.
    """
    try:
        path = Path(value)  # type: ignore[arg-type]  # others raise TypeError
        path.lstat()
    except (TypeError, ValueError):
        found = f"{str(value)!r:.80}" if isinstance(value, str | os.PathLike) else type(value).__name__
    except OSError as failure:
        if failure.errno != errno.ENAMETOOLONG:
            return path
        found = f"a name of {len(str(value))} characters"
    else:
        return path
    raise error(f"{what}: {found}; expected a path. Check the argument.")


def identify(path: str | os.PathLike[str]) -> Hashable:
    """Return a key that is the same for all names of a file: spellings, links to it or its folders, and hard links."""
    try:
        status = os.stat(path)  # noqa: PTH116  # also takes text
    except (OSError, ValueError):
        return os.path.abspath(path)  # noqa: PTH100
    return status.st_dev, status.st_ino

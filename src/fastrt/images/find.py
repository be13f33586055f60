"""Finds image files in paths, folders and patterns."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastrt.errors import ImageError

logger = logging.getLogger("fastrt")

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of images in searched folders. A file that is named directly may have any suffix."""


@dataclass(frozen=True)
class Found:
    """Image files without repetition, and the files of searched folders that have no image suffix."""

    images: tuple[Path, ...]
    passed_over: tuple[Path, ...]


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Found:
    """Find image files. Files of a folder that are left out are logged as a warning.

    Args:
        paths: files; folders, searched recursively in order of name; patterns with ``*``, ``?``, ``**``.

    Raises:
        ImageError: a path does not exist, a pattern matches nothing, or there is no image at all.
    """
    images: dict[Path, None] = {}
    passed_over: dict[Path, None] = {}
    named = list(map(Path, paths))
    for path in named:
        for file in _files(path):
            is_image = file == path or file.suffix.lower() in SUFFIXES or not path.is_dir()
            (images if is_image else passed_over)[file] = None
    if not images:
        where = ", ".join(map(str, passed_over or named))
        raise ImageError(f"{where}: no images; expected files named {', '.join(SUFFIXES)}. Name another folder.")
    if passed_over:
        logger.warning(
            "left out: %d files without an image suffix, first %s", len(passed_over), next(iter(passed_over))
        )
    return Found(tuple(images), tuple(passed_over))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not glob.has_magic(str(path)):
        raise ImageError(f"{path}: does not exist; expected an image, a folder or a pattern. Check the path.")
    # Path.glob rejects absolute patterns.
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not matches:
        raise ImageError(f"{path}: the pattern matches nothing; expected at least one file. Check the pattern.")
    return [file for match in matches for file in (_files(match) if match.is_dir() else [match])]

"""Which image files paths name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastrt.errors import ImageError

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image in a folder; a file that is named is tried whatever its suffix."""


@dataclass(frozen=True)
class Found:
    """Image files, each once, and the files in searched folders that are not images by their suffix."""

    images: tuple[Path, ...]
    passed_over: tuple[Path, ...]


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Found:
    """The image files that paths name.

    Args:
        paths: files; folders, searched with all that is in them, in order of name; patterns with ``*``, ``?``, ``**``.

    Raises:
        ImageError: a path that is not there, a pattern that nothing matches, or no image at all.
    """
    images: dict[Path, None] = {}
    passed_over: dict[Path, None] = {}
    named = list(map(Path, paths))
    for path in named:
        for file in _files(path):
            is_image = file == path or file.suffix.lower() in SUFFIXES or not path.is_dir()
            (images if is_image else passed_over)[file] = None
    if not images:
        raise ImageError(f"no images in {', '.join(map(str, passed_over or named))}; images are {', '.join(SUFFIXES)}")
    return Found(tuple(images), tuple(passed_over))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not glob.has_magic(str(path)):
        raise ImageError(f"there is no image or folder {path}")
    # Path.glob takes no absolute patterns.
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not matches:
        raise ImageError(f"nothing matches {path}")
    return [file for match in matches for file in (_files(match) if match.is_dir() else [match])]

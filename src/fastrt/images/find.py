"""Finds image files in paths, folders and patterns."""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import PIL.Image

from fastrt.errors import ImageError
from fastrt.paths import as_path, identify

logger = logging.getLogger("fastrt")

FORMATS = frozenset(
    "AVIF BMP DIB GIF HEIF JPEG JPEG2000 JXL MPO PNG PPM QOI TGA TIFF WEBP".split()  # noqa: SIM905  # one line
)
"""Formats of photographs. Some need a library that Pillow was built with, or a plugin that the process registered."""


@cache
def image_suffixes() -> tuple[str, ...]:
    """Return the suffixes of the formats of photographs that Pillow decodes here, ascending."""
    known = PIL.Image.registered_extensions()
    return tuple(sorted(suffix for suffix, name in known.items() if name in FORMATS))


def is_image(path: Path, folder: Path) -> bool:
    """Return whether a file of a searched folder is an image: a known suffix, and nothing hidden below ``folder``."""
    return path.suffix.lower() in image_suffixes() and not is_hidden(path, folder) and _is_file(path)


def _is_file(path: Path) -> bool:
    """Return whether a path is a file, or a link to a missing one: an image that cannot be read must not disappear."""
    return path.is_file() or not path.exists()


def is_hidden(path: Path, folder: Path) -> bool:
    """Return whether a file of a searched folder is hidden below ``folder``."""
    return any(part.startswith(".") and part != ".." for part in path.relative_to(folder).parts)


@dataclass(frozen=True)
class Found:
    """Image files without repetition, and the other files that were found: neither images nor hidden."""

    images: tuple[Path, ...]
    passed_over: tuple[Path, ...]


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Found:
    """Find image files. Files that are left out are logged as a warning.

    Links to folders are followed; hidden files and folders are not searched.

    Args:
        paths: files, with any suffix; folders, searched recursively in order of name; patterns with ``*``, ``?``,
            ``**``. In folders and patterns, an image is a file with a suffix of `image_suffixes`.

    Returns:
        Each file once, as the first path that names it: relative, absolute and linked paths of a folder are the same.
        Two names in a folder are two files, also if one is a link to the other, as data sets have them.

    Raises:
        ImageError: a path does not exist, a pattern matches nothing, or there is no image at all.
    """
    images: dict[tuple[str, str], Path] = {}
    passed_over: dict[tuple[str, str], Path] = {}
    name = _namer()
    named = [as_path(path, "images", ImageError) for path in paths]
    for path in named:
        if os.path.isfile(path):  # noqa: PTH113  # also takes names that are too long for a file
            images.setdefault(name(path), path)
            continue
        for file, folder in _search(path):
            if is_image(file, folder):
                images.setdefault(name(file), file)
            elif not is_hidden(file, folder):
                passed_over.setdefault(name(file), file)
    if not images:
        count = f" ({len(passed_over)} other file{'s' * (len(passed_over) != 1)})" if passed_over else ""
        raise ImageError(
            f"no images in {', '.join(map(str, named))}{count}; expected files named {', '.join(image_suffixes())}."
            " Name another folder."
        )
    others = [path for key, path in passed_over.items() if key not in images]
    if others:
        logger.warning("left out: %d files without an image suffix, first %s", len(others), others[0])
    return Found(tuple(images.values()), tuple(others))


def _namer() -> Callable[[Path], tuple[str, str]]:
    """Return a function that maps each spelling of a file's path to the same folder, without links, and name."""
    resolve = cache(os.path.realpath)  # once a folder, not once a file
    return lambda path: (resolve(path.parent), path.name)


def _search(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files of a folder or a pattern, each with the folder that was named."""
    if os.path.isdir(path):  # noqa: PTH112
        yield from ((file, path) for file in sorted(_walk(path)))
        return
    if os.path.exists(path):  # noqa: PTH110
        raise ImageError(f"{path}: is neither a file nor a folder; expected one of them. Check the path.")
    if not glob.has_magic(str(path)):
        raise ImageError(f"{path}: does not exist; expected an image, a folder or a pattern. Check the path.")
    place = len(path.anchor and path.parts[:1])
    start = Path(*path.parts[:place])
    matches = sorted(_expand(start, path.parts[place:]))
    if not matches:
        raise ImageError(f"{path}: the pattern matches nothing; expected at least one file. Check the pattern.")
    named = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
    for match in matches:
        yield from ((file, named) for file in sorted(_walk(match))) if match.is_dir() else [(match, named)]


def _expand(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield what a pattern of these parts matches in a folder, as `glob.glob` does, which skips unreadable folders."""
    if not parts:
        yield folder
    elif parts[0] == "**":
        for inner in _folders(folder) if len(parts) > 1 else [folder]:
            yield from _expand(inner, parts[1:])
    elif not glob.has_magic(parts[0]):
        if os.path.lexists(folder / parts[0]):
            yield from _expand(folder / parts[0], parts[1:])
    elif folder.is_dir():
        shows_hidden = parts[0].startswith(".")
        for entry in _list(folder):
            if fnmatch.fnmatch(entry.name, parts[0]) and (shows_hidden or not entry.name.startswith(".")):
                yield from _expand(folder / entry.name, parts[1:])


def _walk(path: Path) -> Iterator[Path]:
    """Yield the files of a folder and of the folders in it that are not hidden; links to folders are followed."""
    for folder in _folders(path):
        yield from (folder / entry.name for entry in _list(folder) if not _is_folder(entry))


def _folders(path: Path) -> Iterator[Path]:
    """Yield a folder and those in it that are not hidden, each once, also if a link leads to it again."""
    seen: set[Hashable] = set()
    coming = [path] if path.is_dir() else []
    while coming:
        folder = coming.pop()
        key = identify(folder)
        if key not in seen:
            seen.add(key)
            yield folder
            names = [entry.name for entry in _list(folder) if entry.name[0] != "." and _is_folder(entry)]
            coming += [folder / name for name in sorted(names, reverse=True)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: an image that cannot be read
        return False


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise ImageError(
            f"{folder}: cannot be searched ({error.strerror}); expected a readable folder. Check it."
        ) from None

"""Embeddings of image files: which files, read ahead while the engine runs, written with their names."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastrt.arrays import Embeddings, Image
from fastrt.engine_info import EngineInfo
from fastrt.errors import ImageError, OutputError
from fastrt.files import written_whole
from fastrt.preprocess import read_image
from fastrt.session import Session

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image in a folder; a file that is named is tried whatever its suffix."""

READERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Found:
    """Image files, each once, and the files in searched folders that are not images by their suffix."""

    images: tuple[Path, ...]
    passed_over: tuple[Path, ...]


@dataclass(frozen=True)
class Embedded:
    """Embeddings ``(n, D)`` with the file of each row, and the files that could not be read, each with the reason."""

    embeddings: Embeddings
    paths: tuple[Path, ...]
    unreadable: tuple[tuple[Path, str], ...]


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


def embed_files(
    session: Session,
    paths: Sequence[Path],
    advance: Callable[[int], None] = lambda _: None,
    *,
    mirrored: bool = False,
) -> Embedded:
    """The embeddings of image files, decoded by threads while the engine runs.

    Args:
        session: the engine.
        paths: image files.
        advance: called with how many more files are done, for a progress bar.
        mirrored: each image turned left to right, after it is brought to the engine's size.

    Raises:
        ImageError: not one of the files could be read; the message names the first.
    """
    rows: list[Embeddings] = []
    done: list[Path] = []
    unreadable: list[tuple[Path, str]] = []
    chunks = [paths[start : start + session.batch] for start in range(0, len(paths), session.batch)]
    with ThreadPoolExecutor(READERS) as readers:
        ahead = [readers.submit(_read, path) for path in (chunks[0] if chunks else ())]
        for i, chunk in enumerate(chunks):
            results = [future.result() for future in ahead]
            ahead = [readers.submit(_read, path) for path in (chunks[i + 1] if i + 1 < len(chunks) else ())]
            images = [result for result in results if not isinstance(result, str)]
            if images:
                rows.append(session(session.resize(images)[:, :, ::-1] if mirrored else images))
            for path, result in zip(chunk, results, strict=True):
                if isinstance(result, str):
                    unreadable.append((path, result))
                else:
                    done.append(path)
            advance(len(chunk))
    if not done:
        raise ImageError(
            f"none of {len(paths)} images could be read, first {unreadable[0][1] if unreadable else 'none'}"
        )
    return Embedded(np.concatenate(rows), tuple(done), tuple(unreadable))


def _read(path: Path) -> Image | str:
    try:
        return read_image(path)
    except ImageError as error:
        return str(error)


def save_embeddings(embedded: Embedded, path: str | os.PathLike[str], info: EngineInfo) -> tuple[Path, Path]:
    """Write a ``.npy`` of the embeddings, and beside it their names as ``.json`` and as ``.csv``; returns those two.

    The ``.json`` also says which engine made them and which files could not be read.

    Raises:
        OutputError: a file cannot be written, or ``path`` is not named ``.npy``.
    """
    path = Path(path)
    if path.suffix.lower() != ".npy":
        raise OutputError(f"{path} has the suffix {path.suffix or 'of nothing'}; embeddings are written as .npy")
    table, names = path.with_suffix(".csv"), path.with_suffix(".json")
    images = [str(image) for image in embedded.paths]
    content = {
        "images": images,
        "unreadable": [{"image": str(image), "reason": reason} for image, reason in embedded.unreadable],
        "engine": info.model_dump(exclude={"spec"}, exclude_none=True),
    }
    # The embeddings come last: where they stand, their names do too.
    with written_whole(path) as new_path, written_whole(names) as new_names, written_whole(table) as new_table:
        with new_path.open("wb") as file:
            np.save(file, embedded.embeddings)
        new_names.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        with new_table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("row", "image"))
            writer.writerows(enumerate(images))
    return names, table

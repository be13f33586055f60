"""A data set: query images and gallery images with identities and cameras."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrt.errors import EvaluationError
from fastrt.extraction import SUFFIXES

Root = str | os.PathLike[str]


@dataclass(frozen=True)
class Picture:
    """One image with its identity (``pid``) and its camera (``camid``, from 0)."""

    path: Path
    pid: int
    camid: int


@dataclass(frozen=True)
class DataSet:
    """Query images and the gallery in which they are searched.

    Attributes:
        name: the common name.
        query: the query images.
        gallery: the gallery images, including distractors: identities without a query.
        notes: differences from the published data set, to be logged as warnings.
    """

    name: str
    query: tuple[Picture, ...]
    gallery: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


def make_data_set(
    name: str, query: Iterable[Picture], gallery: Iterable[Picture], published: tuple[int, int] | None
) -> DataSet:
    """Make a data set, and note a difference from the published image counts.

    Raises:
        EvaluationError: there is no query, or no gallery image.
    """
    query, gallery = tuple(query), tuple(gallery)
    if not query or not gallery:
        raise EvaluationError(
            f"{name}: {len(query)} queries and {len(gallery)} gallery images; expected some of both. Check the folder."
        )
    notes = []
    if published is not None and (len(query), len(gallery)) != published:
        notes.append(
            f"{name}: {len(query)} queries and {len(gallery)} gallery images; expected {published[0]} and"
            f" {published[1]} as published. Do not compare the scores with published ones."
        )
    return DataSet(name, query, gallery, tuple(notes))


def find_root(name: str, root: Path, folders: Sequence[str], wanted: Sequence[str]) -> Path:
    """Find the folder that contains all of ``wanted``: one of ``folders`` in ``root``, or ``root`` itself.

    Raises:
        EvaluationError: no folder contains them; the message shows the layout.
    """
    candidates = [root / folder for folder in folders] + [root]
    for candidate in candidates:
        if all((candidate / part).exists() for part in wanted):
            return candidate
    nearest = max(candidates, key=lambda candidate: sum((candidate / part).exists() for part in wanted))
    missing = [part for part in wanted if not (nearest / part).exists()]
    layout = "".join(f"\n  {root / folders[0] / part}" for part in wanted)
    raise EvaluationError(f"{root}: {nearest / missing[0]} is missing; expected {name} as{layout}\nCheck the folder.")


def read_folder(name: str, folder: Path, pattern: str, first_camera: int = 1) -> list[Picture]:
    """Read the images of a folder; their names contain identity and camera.

    Images of identity -1 are junk (detections that do not count) and are left out.

    Raises:
        EvaluationError: the name of an image does not match ``pattern``.
    """
    named = re.compile(pattern)
    images = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        match = named.match(path.name)
        if match is None:
            raise EvaluationError(
                f"{path}: name without identity and camera; expected a name as in {name}. Remove the file."
            )
        pid, camera = map(int, match.groups())
        if pid != -1:
            images.append(Picture(path, pid, camera - first_camera))
    return images


def read_lines(path: Path) -> list[str]:
    """Read the non-empty lines of a text file.

    Raises:
        EvaluationError: the file cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"{path}: cannot be read ({error}); expected a UTF-8 text file. Check the file."
        ) from None

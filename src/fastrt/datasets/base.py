"""What a data set is: pictures of identities by cameras, some of which are looked for among the others."""

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
    """One picture: the identity in it, and the camera that took it, from 0."""

    path: Path
    pid: int
    camid: int


@dataclass(frozen=True)
class DataSet:
    """Queries, and the gallery that they are looked for in.

    Attributes:
        name: as people know it.
        query: what is looked for.
        gallery: where; distractors, whom no query shows, among it.
        notes: what is not as it was published, in sentences to be said aloud.
    """

    name: str
    query: tuple[Picture, ...]
    gallery: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


def make_data_set(
    name: str, query: Iterable[Picture], gallery: Iterable[Picture], published: tuple[int, int] | None
) -> DataSet:
    """A data set, its counts compared with the published ones.

    Raises:
        EvaluationError: it has no query, or no gallery.
    """
    query, gallery = tuple(query), tuple(gallery)
    if not query or not gallery:
        raise EvaluationError(
            f"{name} has {len(query)} queries and {len(gallery)} gallery pictures here; both are wanted"
        )
    notes = []
    if published is not None and (len(query), len(gallery)) != published:
        notes.append(
            f"{name} has {len(query)} queries and {len(gallery)} gallery pictures here,"
            f" where {published[0]} and {published[1]} were published: scores cannot be compared with published ones"
        )
    return DataSet(name, query, gallery, tuple(notes))


def find_root(name: str, root: Path, folders: Sequence[str], wanted: Sequence[str]) -> Path:
    """The folder that holds all that is wanted: one of ``folders`` below ``root``, or ``root`` itself.

    Raises:
        EvaluationError: none does; the message shows the layout.
    """
    candidates = [root / folder for folder in folders] + [root]
    for candidate in candidates:
        if all((candidate / part).exists() for part in wanted):
            return candidate
    nearest = max(candidates, key=lambda candidate: sum((candidate / part).exists() for part in wanted))
    missing = [part for part in wanted if not (nearest / part).exists()]
    layout = "".join(f"\n  {root / folders[0] / part}" for part in wanted)
    raise EvaluationError(f"{name} is not in {root}: {nearest / missing[0]} is missing; it is laid out as{layout}")


def read_folder(name: str, folder: Path, pattern: str, first_camera: int = 1) -> list[Picture]:
    """The pictures of a folder whose names say identity and camera; those of identity -1 are junk, and left out.

    Raises:
        EvaluationError: a picture whose name does not.
    """
    named = re.compile(pattern)
    pictures = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        match = named.match(path.name)
        if match is None:
            raise EvaluationError(f"{path} does not bear identity and camera in its name, as pictures of {name} do")
        pid, camera = map(int, match.groups())
        if pid != -1:
            pictures.append(Picture(path, pid, camera - first_camera))
    return pictures


def read_lines(path: Path) -> list[str]:
    """The lines of a list that have anything on them.

    Raises:
        EvaluationError: it cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"cannot read {path}: {error}") from None

"""A data set: query images and gallery images with identities and cameras."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrt.errors import EvaluationError
from fastrt.images.find import is_image

logger = logging.getLogger("fastrt")

Root = str | os.PathLike[str]

NAME = re.compile(r"(-1|\d+)_c(\d+)(?:s\d+)?(?:_.*)?", re.ASCII | re.DOTALL)
"""The whole name, without suffix, of an image in most data sets: identity, camera from 1, sequence, and the rest."""


@dataclass(frozen=True)
class LabelledImage:
    """An image file with its identity (``pid``) and its camera (``camid``, from 0)."""

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
        notes: differences from the published data set, which the reader has logged as warnings.
    """

    name: str
    query: tuple[LabelledImage, ...]
    gallery: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()


def make_data_set(
    name: str, query: Sequence[LabelledImage], gallery: Sequence[LabelledImage], published: tuple[int, int] | None
) -> DataSet:
    """Make a data set, and log a difference from the published image counts as a warning.

    Raises:
        EvaluationError: there is no query, or no gallery image.
    """
    found = f"{name}: {len(query)} queries and {len(gallery)} gallery images"
    if not query or not gallery:
        raise EvaluationError(f"{found}; expected some of both. Check the folder.")
    notes = []
    if published is not None and (len(query), len(gallery)) != published:
        notes.append(
            f"{found}; expected {published[0]} and {published[1]} as published."
            " Do not compare the scores with published ones."
        )
        logger.warning("%s", notes[0])
    return DataSet(name, tuple(query), tuple(gallery), tuple(notes))


def read_layout(
    name: str,
    root: Root,
    folders: Sequence[str],
    published: tuple[int, int] | None,
    *,
    query: str = "query",
    gallery: Sequence[str] = ("bounding_box_test",),
) -> DataSet:
    """Read a data set with a folder of queries and one or more gallery folders, as `find_root` and `read_folder` do."""
    folder = find_root(name, Path(root), folders, [query, *gallery])
    images = [image for part in gallery for image in read_folder(name, folder / part)]
    return make_data_set(name, read_folder(name, folder / query), images, published)


def find_root(name: str, root: Path, folders: Sequence[str], wanted: Sequence[str]) -> Path:
    """Find the folder that contains all of ``wanted``: one of ``folders`` in ``root``, or ``root`` itself.

    Raises:
        EvaluationError: no folder contains them; the message shows the layout.
    """
    candidates = [root / folder for folder in folders] + [root]
    missing = {folder: [part for part in wanted if not (folder / part).exists()] for folder in candidates}
    nearest = min(candidates, key=lambda folder: len(missing[folder]))
    if not missing[nearest]:
        return nearest
    layout = "".join(f"\n  {candidates[0] / part}" for part in wanted)
    first = nearest / missing[nearest][0]
    raise EvaluationError(f"{root}: {first} is missing; expected {name} as{layout}\nCheck the folder.")


def read_folder(name: str, folder: Path) -> list[LabelledImage]:
    """Read the images of a folder; their names contain identity and camera.

    Images of identity -1 are junk (detections that do not count) and are left out.

    Raises:
        EvaluationError: the folder cannot be read, or the whole name of an image does not match `NAME`.
    """
    images = []
    try:
        paths = sorted(path for path in folder.iterdir() if is_image(path, folder))
    except OSError as error:
        raise EvaluationError(
            f"{folder}: cannot be read ({error.strerror}); expected a folder of images. Check it."
        ) from None
    for path in paths:
        match = NAME.fullmatch(path.stem)
        if match is None:
            raise EvaluationError(
                f"{path}: name without identity and camera; expected a name as in {name}:"
                " 0001_c1s1_000151_01.jpg or 0001_c1.jpg, of identity 1 and camera 1. Rename or remove the file."
            )
        pid, camera = map(int, match.groups())
        if pid != -1:
            images.append(LabelledImage(path, pid, camera - 1))
    return images


class Listing:
    """The image files of a list: each has one identity, and stands once in each role, with one camera."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._identities: dict[str, tuple[str, object]] = {}
        self._cameras: dict[tuple[str, str], tuple[str, object]] = {}
        self._repeated = 0

    def is_new(self, path: Path, identity: object, camera: object, where: str, role: str = "") -> bool:
        """Return whether the file, in any spelling, has not yet stood in this role; ``where`` is its line.

        Raises:
            EvaluationError: it has another identity in an earlier line, or another camera in this role.
        """
        key = os.path.abspath(path)  # noqa: PTH100  # also resolves a/../b
        is_new = (key, role) not in self._cameras
        for label, value, (first, expected) in (
            ("identity", identity, self._identities.setdefault(key, (where, identity))),
            ("camera", camera, self._cameras.setdefault((key, role), (where, camera))),
        ):
            if value != expected:
                raise EvaluationError(
                    f"{self._source}, {where}: {path} has {label} {value}; expected {expected}, as the same file in"
                    f" {first}. Correct one of the two lines."
                )
        self._repeated += not is_new
        return is_new

    def report(self) -> None:
        """Log the lines that repeat a file as a warning."""
        if self._repeated:
            logger.warning("%s: left out %d lines that repeat an image", self._source, self._repeated)


def whole_number(text: str) -> int:
    """Read decimal digits, and nothing else. Raises ValueError; `int` also accepts spaces, signs and underscores."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def read_lines(path: Path) -> list[str]:
    """Read the non-empty lines of a text file.

    Raises:
        EvaluationError: the file cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"{path}: cannot be read ({error}); expected a UTF-8 text file. Check the file."
        ) from None


def read_list(path: Path, parse: Callable[[str], LabelledImage], expected: str) -> list[LabelledImage]:
    """Read an image from each line of a text file; ``expected`` describes a line in the message.

    Lines that repeat an image are left out with a warning.

    Raises:
        EvaluationError: the file cannot be read, an image has two identities or two cameras, or ``parse`` raises
            ValueError or LookupError for a line.
    """
    images = []
    listing = Listing(path)
    for line in read_lines(path):
        try:
            image = parse(line)
        except (ValueError, LookupError):
            raise EvaluationError(f"{path}: line {line!r}; expected {expected}. Restore the list.") from None
        if listing.is_new(image.path, image.pid, image.camid, f"line {line!r}"):
            images.append(image)
    listing.report()
    return images

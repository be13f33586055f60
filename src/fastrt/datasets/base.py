"""A data set: query images and gallery images with identities and cameras."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrt.errors import EvaluationError
from fastrt.images.find import is_hidden, is_image
from fastrt.paths import as_path, identify

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
    name: str,
    query: Sequence[LabelledImage],
    gallery: Sequence[LabelledImage],
    published: tuple[int, int] | None,
    advice: str = "Check the folder.",
) -> DataSet:
    """Make a data set, and log a difference from the published image counts as a warning.

    Args:
        name: the common name.
        query: the query images.
        gallery: the gallery images.
        published: numbers of published query and gallery images.
        advice: what to do if there are none.

    Raises:
        EvaluationError: there is no query, or no gallery image.
    """
    found = f"{name}: {len(query)} queries and {len(gallery)} gallery images"
    if not query or not gallery:
        raise EvaluationError(f"{found}; expected some of both. {advice}")
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
    folder = find_root(name, root, folders, [query, *gallery])
    images = [image for part in gallery for image in read_folder(name, folder / part)]
    return make_data_set(name, read_folder(name, folder / query), images, published)


def find_root(name: str, root: Root, folders: Sequence[str], wanted: Sequence[str]) -> Path:
    """Find the folder that contains all of ``wanted``: one of ``folders`` in ``root``, or ``root`` itself.

    Raises:
        EvaluationError: no folder contains them; the message shows the layout. Or ``root`` is no path.
    """
    root = as_path(root, f"{name}: folder", EvaluationError)
    candidates = [root / folder for folder in folders] + [root]
    # os.path takes names that are too long for a file.
    missing = {folder: [part for part in wanted if not os.path.exists(folder / part)] for folder in candidates}  # noqa: PTH110
    nearest = min(candidates, key=lambda folder: len(missing[folder]))
    if not missing[nearest]:
        return nearest
    layout = "".join(f"\n  {candidates[0] / part}" for part in wanted)
    first = nearest / missing[nearest][0]
    raise EvaluationError(f"{root}: {first} is missing; expected {name} as{layout}\nCheck the folder.")


def read_folder(name: str, folder: Path) -> list[LabelledImage]:
    """Read the images of a folder; their names contain identity and camera.

    Images of identity -1 are junk (detections that do not count) and are left out. Other files and folders in it are
    left out with a warning, unless they are hidden, or the ``Thumbs.db`` of published data sets.

    Raises:
        EvaluationError: the folder cannot be read, has no image, or the whole name of an image does not match `NAME`.
    """
    images = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise EvaluationError(
            f"{folder}: cannot be read ({error.strerror}); expected a folder of images. Check it."
        ) from None
    paths = {path: None for path in entries if is_image(path, folder)}
    others = [
        path for path in entries if path not in paths and not is_hidden(path, folder) and path.name != "Thumbs.db"
    ]
    if others:
        logger.warning(
            "%s: left out %d files or folders that are no images, first %s", folder, len(others), others[0].name
        )
    if not paths:
        raise EvaluationError(f"{folder}: no images; expected those of {name}. Check the folder.")
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
    """The image files of a list: each has one identity and one camera, and stands once in each role."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._labels: dict[Hashable, tuple[str, dict[str, object]]] = {}
        self._seen: set[tuple[Hashable, str]] = set()
        self._repeated = 0

    def is_new(self, path: Path, identity: object, camera: object, where: str, role: str = "") -> bool:
        """Return whether the file, by any of its names, has not yet stood in this role; ``where`` is its line.

        Raises:
            EvaluationError: it has another identity or another camera in an earlier line.
        """
        key = identify(path)
        labels: dict[str, object] = {"identity": identity, "camera": camera}
        first, expected = self._labels.setdefault(key, (where, labels))
        for label, value in labels.items():
            if value != expected[label]:
                raise EvaluationError(
                    f"{self._source}, {where}: {path} has {label} {value}; expected {expected[label]}, as the same file"
                    f" in {first}. Correct one of the two lines."
                )
        is_new = (key, role) not in self._seen
        self._seen.add((key, role))
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


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        EvaluationError: the file is no regular file (a pipe may never end), cannot be read, or is not UTF-8 text.
    """
    try:
        if path.is_file() or not path.exists():
            text = path.read_text("utf-8-sig")
            found = "has a null character" if "\0" in text else ""
        else:
            found = "is not a regular file"
    except (OSError, UnicodeDecodeError) as error:
        found = f"cannot be read ({error})"
    if found:
        raise EvaluationError(f"{path}: {found}; expected a UTF-8 text file. Check the file.")
    return text


def read_lines(path: Path) -> list[str]:
    """Read the non-empty lines of a text file. Raises as `read_text` does."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


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

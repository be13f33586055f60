"""Which images a network is calibrated on: so many of a folder, drawn by a seed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from fastrt.arrays import Image
from fastrt.errors import CalibrationError, ImageError
from fastrt.images.drawing import draw_person
from fastrt.images.preprocess import read_image

logger = logging.getLogger("fastrt")

HELD_OUT = 64
"""Images that an engine in int8 is judged on."""


class ImageSample:
    """So many different, readable images of a list, in an order drawn by a seed; read one at a time, when iterated.

    Attributes:
        count: how many are wanted.
        seed: draws their order.
        names: of the images that were read, in order.
        unreadable: of files that could not be, each with the reason.
        duplicates: of files with the very content of one before.
        held_out: files that were not looked at, `HELD_OUT` at most: to judge an engine on.
    """

    def __init__(self, paths: Sequence[Path], count: int, seed: int = 0) -> None:
        self.count = count
        self.seed = seed
        self.names: list[str] = []
        self.unreadable: list[tuple[str, str]] = []
        self.duplicates: list[str] = []
        self.held_out: list[str] = []
        # By name, whatever order the files were found in.
        ordered = sorted(paths)
        self._paths = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]

    def __iter__(self) -> Iterator[Image]:
        """Each image, ``(h, w, 3)`` uint8 BGR.

        Raises:
            CalibrationError: fewer images than wanted can be read, or none.
        """
        self.names, self.unreadable, self.duplicates = [], [], []
        if len(self._paths) < self.count:
            raise CalibrationError(
                f"{len(self._paths)} images where {self.count} are wanted; give more images, or ask for fewer"
                f" (--count {len(self._paths)})"
            )
        seen: set[bytes] = set()
        for i, path in enumerate(self._paths):
            if len(self.names) == self.count:
                self.held_out = [str(path) for path in self._paths[i : i + HELD_OUT]]
                return
            try:
                image = read_image(path)
            except ImageError as error:
                self.unreadable.append((str(path), str(error)))
                continue
            digest = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
            if digest in seen:
                self.duplicates.append(str(path))
                continue
            seen.add(digest)
            self.names.append(str(path))
            yield image
        if len(self.names) < self.count:
            raise CalibrationError(
                f"{len(self.names)} images where {self.count} are wanted: of {len(self._paths)} files"
                f" {len(self.unreadable)} cannot be read{self._first()} and {len(self.duplicates)} repeat another;"
                f" give more images{f', or ask for fewer (--count {len(self.names)})' if self.names else ''}"
            )

    def _first(self) -> str:
        return f" (first: {self.unreadable[0][1]})" if self.unreadable else ""


def read_images(paths: Sequence[Path], seen: Collection[str] = (), count: int = HELD_OUT) -> list[Image]:
    """Up to ``count`` images that are not among those ``seen``, in order. Unreadable files are logged as warnings."""
    images: list[Image] = []
    for path in paths:
        if len(images) == count:
            break
        if str(path) in seen:
            continue
        try:
            images.append(read_image(path))
        except ImageError as error:
            logger.warning("%s: left out", error)
    return images


def draw_held_out(size: tuple[int, int], count: int = HELD_OUT) -> list[Image]:
    """Drawn pictures of people, two of each, where there are no images to judge on."""
    return [draw_person(i // 2, i % 2, *size) for i in range(count)]

"""Draws calibration images and held-out images from a list of files."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fastrt.arrays import Image
from fastrt.errors import CalibrationError, ImageError
from fastrt.images.drawing import draw_person
from fastrt.images.preprocess import read_image

logger = logging.getLogger("fastrt")

HELD_OUT = 64
"""Images that an int8 engine is evaluated on."""


class ImageSample:
    """A random sample of ``count`` distinct, readable images. Iterating reads them one at a time.

    Attributes:
        count: number of images to read.
        seed: of the random order.
        names: absolute paths of the images that were read, in order.
        unreadable: paths of files that could not be read, each with the reason.
        duplicates: paths of files with the same pixels as an earlier one.
        held_out: paths that were not read, up to `HELD_OUT`, to evaluate an engine on.
    """

    def __init__(self, paths: Sequence[Path], count: int, seed: int = 0) -> None:
        self.count = count
        self.seed = seed
        self.names: list[str] = []
        self.unreadable: list[tuple[str, str]] = []
        self.duplicates: list[str] = []
        self.held_out: list[str] = []
        # Sorted, so that the sample does not depend on the order in which files were found.
        ordered = sorted(path.absolute() for path in paths)
        self._paths = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]

    def __iter__(self) -> Iterator[Image]:
        """Yield images, ``(h, w, 3)`` uint8 BGR.

        Raises:
            CalibrationError: fewer than ``count`` images can be read.
        """
        self.names, self.unreadable, self.duplicates = [], [], []
        if len(self._paths) < self.count:
            raise CalibrationError(
                f"calibration: {len(self._paths)} images; expected {self.count}."
                f" Give more images, or ask for fewer (--count {len(self._paths)})."
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
            first = f" (first: {self.unreadable[0][1]})" if self.unreadable else ""
            raise CalibrationError(
                f"calibration: {len(self.names)} images; expected {self.count}. Of {len(self._paths)} files"
                f" {len(self.unreadable)} cannot be read{first} and {len(self.duplicates)} are duplicates."
                f" Give more images{f', or ask for fewer (--count {len(self.names)})' if self.names else ''}."
            )


def read_images(paths: Sequence[Path], count: int = HELD_OUT) -> list[Image]:
    """Read up to ``count`` images. Unreadable files are logged as warnings."""
    images: list[Image] = []
    for path in paths:
        if len(images) == count:
            break
        try:
            images.append(read_image(path))
        except ImageError as error:
            logger.warning("left out: %s", error)
    return images


def draw_held_out(size: tuple[int, int], count: int = HELD_OUT) -> list[Image]:
    """Draw images of people, two of each, to evaluate on if there are no photographs."""
    return [draw_person(i // 2, i % 2, *size) for i in range(count)]

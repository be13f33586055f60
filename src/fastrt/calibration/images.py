"""Which images a network is calibrated on: so many of a folder, drawn by a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fastrt.arrays import Image
from fastrt.errors import CalibrationError, ImageError
from fastrt.preprocess import read_image


class ImageSample:
    """So many different, readable images of a list, in an order drawn by a seed; read one at a time, when iterated.

    Attributes:
        count: how many are wanted.
        seed: draws their order.
        names: of the images that were read, in order.
        unreadable: of files that could not be, each with the reason.
        duplicates: of files with the very content of one before.
    """

    def __init__(self, paths: Sequence[Path], count: int, seed: int = 0) -> None:
        self.count = count
        self.seed = seed
        self.names: list[str] = []
        self.unreadable: list[tuple[str, str]] = []
        self.duplicates: list[str] = []
        # By name, whatever order the files were found in.
        ordered = sorted(paths)
        self._paths = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]

    def __iter__(self) -> Iterator[Image]:
        """Each image, ``(h, w, 3)`` uint8 BGR.

        Raises:
            CalibrationError: fewer images than wanted can be read, or none.
        """
        self.names, self.unreadable, self.duplicates = [], [], []
        seen: set[bytes] = set()
        for path in self._paths:
            if len(self.names) == self.count:
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
                f" give more images, or ask for fewer (--count {max(len(self.names), 1)})"
            )

    def _first(self) -> str:
        return f" (first: {self.unreadable[0][1]})" if self.unreadable else ""

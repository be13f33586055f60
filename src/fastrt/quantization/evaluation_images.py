"""Images to compare an int8 engine with fp32 on."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrt.arrays import Array, Image
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.errors import CalibrationError
from fastrt.images.find import find_images
from fastrt.images.sample import draw_held_out, read_images

logger = logging.getLogger("fastrt")

FEWEST = 8
"""The minimum number of images, so that each has some neighbours to rank."""


@dataclass(frozen=True)
class EvaluationImages:
    """Images that calibration did not use.

    Attributes:
        images: ``(h, w, 3)`` uint8 BGR arrays.
        description: their number and origin, for the report.
    """

    images: Sequence[Image] | Array
    description: str


def choose_images(
    table: CalibrationTable, images: Sequence[str | os.PathLike[str]] | Sequence[Image] | Array | None
) -> EvaluationImages:
    """Choose the images to evaluate int8 on.

    Args:
        table: has the names of the calibration images, which are excluded.
        images: files, folders or patterns, of which 64 images are read; or ``(h, w, 3)`` uint8 BGR arrays. None: the
            images that calibration did not use, or drawn images if these are fewer than `FEWEST`.

    Raises:
        CalibrationError: there are fewer ``images`` than `FEWEST`.
        ImageError: a path or a pattern without images.
    """
    if images is not None:
        paths = [image for image in images if isinstance(image, str | os.PathLike)]
        arrays = [image for image in images if not isinstance(image, str | os.PathLike)]
        found = [*arrays, *(read_images(find_images(paths).images, table.images) if paths else ())]
        if len(found) < FEWEST:
            raise CalibrationError(
                f"{len(found)} images can be read that calibration has not seen; give at least {FEWEST}"
            )
        described = "given images" if arrays else "images that calibration has not seen"
        return EvaluationImages(found, f"{len(found)} {described}")
    found = read_images([Path(name) for name in table.held_out])
    if len(found) >= FEWEST:
        return EvaluationImages(found, f"{len(found)} images that calibration left over")
    logger.warning("calibration left no images over, so int8 is compared on drawn images; give images of your own")
    drawn = draw_held_out(table.image_size)
    return EvaluationImages(drawn, f"{len(drawn)} drawn images")

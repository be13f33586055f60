"""Images to compare an int8 engine with fp32 on."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from fastrt.arrays import Array, Image
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.errors import CalibrationError
from fastrt.images.find import find_images
from fastrt.images.preprocess import check_image
from fastrt.images.sample import draw_held_out, read_images

logger = logging.getLogger("fastrt")

FEWEST = 8
"""The minimum number of images, so that each has some neighbours to rank."""

GivenImages = Sequence[str | os.PathLike[str]] | Sequence[Image] | Array
"""Files, folders or patterns; or ``(h, w, 3)`` uint8 BGR arrays."""


def choose_images(table: CalibrationTable, given: GivenImages | None) -> tuple[Sequence[Image], str]:
    """Choose images that calibration did not use, to compare an int8 engine with fp32 on.

    Args:
        table: has the names of the calibration images, which are excluded.
        given: images, of which up to 64 are read from files. None: the images that calibration did not use, or drawn
            images if these are fewer than `FEWEST`.

    Returns:
        ``(h, w, 3)`` uint8 BGR arrays, and their number and origin for the report.

    Raises:
        CalibrationError: fewer different images are ``given`` than `FEWEST`.
        ImageError: a path or a pattern without images.
    """
    if given is not None:
        paths = [image for image in given if isinstance(image, str | os.PathLike)]
        arrays = [image for image in given if not isinstance(image, str | os.PathLike)]
        used = set(map(os.path.realpath, table.images))
        found = [path for path in (find_images(paths).images if paths else ()) if os.path.realpath(path) not in used]
        for i, image in enumerate(arrays):
            check_image(image, f"image {i}")
        images = [*arrays, *read_images(found)]
        different = len({(image.shape, image.tobytes()) for image in images})
        if len(images) < FEWEST:
            raise CalibrationError(
                f"images: {len(images)} that can be read and that calibration did not use; expected at least {FEWEST}."
                " Give more."
            )
        if different < FEWEST:
            raise CalibrationError(
                f"images: {len(images)}, of which {different} differ; expected at least {FEWEST} different ones, as the"
                " mean embedding is subtracted. Give others."
            )
        return images, f"{len(images)} {'given images' if arrays else 'images that calibration did not use'}"
    left_over = [Path(name) for name in table.held_out]
    missing = [path for path in left_over if not path.is_file()]
    images = read_images([path for path in left_over if path not in missing])
    if missing:
        logger.warning(
            "%d of %d images that calibration left over are missing, first %s: were they moved, or the table?",
            len(missing),
            len(left_over),
            missing[0],
        )
    if len(images) >= FEWEST:
        return images, f"{len(images)} images that calibration did not use"
    logger.warning(
        "int8 is compared on drawn images, because of those that calibration left over %d can be read, and %d are"
        " needed; give images of your own",
        len(images),
        FEWEST,
    )
    images = draw_held_out(table.image_size)
    return images, f"{len(images)} drawn images"

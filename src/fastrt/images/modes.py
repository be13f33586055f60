"""Converts each image mode of Pillow to 8-bit RGB, or refuses it. Pillow itself clips values above 255 silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from fastrt.errors import ImageError

EIGHT_BITS = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV"})
"""Modes that Pillow converts to RGB without clipping. It reads colour images of 16 bits a channel in one of them."""

SIXTEEN_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})

FULL_RANGE = frozenset({"PNG", "PPM", "JPEG2000"})
"""Formats whose grey images of more than 8 bits are read as 0 to 65535, by some versions of Pillow in mode ``I``."""

BITS, PHOTOMETRIC, PLANAR, SAMPLE_FORMAT = 258, 262, 284, 339
"""Tags of TIFF."""

WHITE_IS_ZERO, SEPARATE, SIGNED = 0, 2, 2
"""Values of the tags photometric interpretation, planar configuration and sample format."""


def to_rgb(image: PIL.Image.Image, path: Path) -> PIL.Image.Image:
    """Convert a decoded file to RGB with 8 bits a channel. Grey values of more bits are scaled by the mode's range.

    Raises:
        ImageError: the mode has no known range (float, signed, 32 bits), no conversion to RGB (LAB), or is one that
            Pillow reads wrong (16 bits in separate planes).
    """
    tags = getattr(image, "tag_v2", {})
    traits = ["signed"] * (SIGNED in tags.get(SAMPLE_FORMAT, ()))
    if tags.get(PLANAR) == SEPARATE and max(tags.get(BITS, (8,))) > 8:
        traits.append("in separate planes of 16 bits")
    if image.mode in EIGHT_BITS and not traits:
        image.info.pop("transparency", None)  # alpha is dropped; Pillow would warn about that of a palette
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.format == "TIFF" and image.mode in SIXTEEN_BITS:
        top = (1 << tags[BITS][0]) - 1
    elif image.format in FULL_RANGE and image.mode in SIXTEEN_BITS | {"I"}:
        top = 0xFFFF
    else:
        what = ", ".join([f"pixels of mode {image.mode}", *traits])
        raise ImageError(
            f"{path}: {what}; expected grey or interleaved colour values of 8 or 16 bits, whose range is known."
            " Convert the image to 8-bit RGB."
        )
    levels = np.asarray(image).astype(np.uint32)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        levels = top - levels
    scaled = (levels * 255 + top // 2) // top
    return PIL.Image.fromarray(scaled.astype(np.uint8)).convert("RGB")

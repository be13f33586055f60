"""Finds JPEG files that were cut and closed with an end marker: libjpeg fills what is missing with grey, in silence."""

from __future__ import annotations

import io
import re
from typing import Any

import PIL.Image

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""A marker; the others stand within the pixels of a scan."""

END = b"\xff\xd9"
FORMATS = ("JPEG", "MPO")
GREY = {127, 128}
"""Values of the pixels that libjpeg puts in place of missing ones, in all channels; 127 in inverted CMYK."""

PADDING = bytes(range(255))
"""No marker, and many codes."""


def is_cut(file: PIL.Image.Image, content: io.BufferedIOBase) -> bool:
    """Return True if scans of a decoded image end too early.

    Then, and only then, more bytes behind the last scan change the pixels. The image is decoded again if its last pixel
    is grey, or if it is progressive: pixels of a cut progressive image are not grey, but blurred.
    """
    if file.format not in FORMATS:
        return False
    last: Any = file.getpixel((file.width - 1, file.height - 1))
    if "progressive" not in file.info and not GREY.issuperset(last if isinstance(last, tuple) else (last,)):
        return False
    content.seek(0)
    data = content.read()
    end = _find_end(data)
    try:
        with PIL.Image.open(io.BytesIO(data[:end] + PADDING + data[end:])) as padded:
            return padded.tobytes() != file.tobytes()
    except OSError:
        return False


def _find_end(data: bytes) -> int:
    """Find the end marker behind the scans; thumbnails in other segments have one, too."""
    place = 2
    while found := MARKER.search(data, place):
        if found[0] == END:
            return found.start()
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return len(data)

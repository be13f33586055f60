"""Finds damaged PNG files: on reading, Pillow checks no checksum of pixels, and takes bytes of zeros for pixels."""

from __future__ import annotations

import io

import PIL.Image


def is_damaged(file: PIL.Image.Image, content: io.BufferedIOBase) -> bool:
    """Return True if a chunk of a PNG differs from its checksum, or the last chunk is missing."""
    if file.format != "PNG":
        return False
    content.seek(0)
    try:
        with PIL.Image.open(io.BytesIO(content.read()), formats=["PNG"]) as again:
            again.verify()
    except (OSError, SyntaxError):  # Pillow raises SyntaxError for a wrong checksum
        return True
    return False

"""Finds damaged PNG files: Pillow checks no checksum of pixels, and takes bytes of zeros for pixels."""

from __future__ import annotations

import io
import zlib

import PIL.Image

SIGNATURE_BYTES = 8


def is_damaged(file: PIL.Image.Image, content: io.BufferedIOBase) -> bool:
    """Return True if a chunk of a PNG differs from its checksum, or the last chunk is missing."""
    if file.format != "PNG":
        return False
    content.seek(0)
    data = content.read()
    place = SIGNATURE_BYTES
    while place < len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if zlib.crc32(data[place + 4 : end]).to_bytes(4, "big") != data[end : end + 4]:
            return True
        if data[place + 4 : place + 8] == b"IEND":
            return False
        place = end + 4
    return True

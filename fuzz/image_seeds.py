"""Small valid image files of every format and mode that Pillow writes."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import PIL.ImageCms


def images() -> list[bytes]:
    colours = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    exif = PIL.Image.Exif()
    exif[274], exif[270], exif[305] = 6, "x", "y"
    exif.get_ifd(34665)[36867] = "2021:01:01 00:00:00"
    found = []
    for kind in (
        "JPEG",
        "PNG",
        "GIF",
        "TIFF",
        "WEBP",
        "BMP",
        "PPM",
        "JPEG2000",
        "TGA",
        "ICO",
        "MPO",
        "AVIF",
        "EPS",
        "DDS",
        "SGI",
    ):
        for mode in ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F", "LAB", "YCbCr"):
            for extra in ({}, {"exif": exif.tobytes(), "icc_profile": profile}):
                image = PIL.Image.fromarray(colours, "RGBA")
                image = (
                    image.convert("L").convert(mode)
                    if mode in ("I;16", "I", "F", "1", "LA")
                    else image.convert("RGB").convert(mode)
                )
                buffer = io.BytesIO()
                try:
                    image.save(buffer, kind, **extra)
                except (OSError, KeyError, ValueError):  # the format does not have the mode
                    continue
                found.append(buffer.getvalue())
    frames = [PIL.Image.fromarray(np.roll(colours, i, 0)).convert("RGB") for i in range(3)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        found.append(buffer.getvalue())
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
        buffer = io.BytesIO()
        frames[0].convert("1" if compression == "group4" else "RGB").save(buffer, "TIFF", compression=compression)
        found.append(buffer.getvalue())
    return [*found, b"P3\n2 2\n255\n" + b"1 2 3 " * 4, b"P1\n2 2\n0 1 1 0\n", b"Pf\n2 2\n-1.0\n" + bytes(16)]

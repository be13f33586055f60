"""From files and arrays to pixels of the network's size; the only place that knows decoding and resizing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from fastrt.arrays import Image
from fastrt.errors import ImageError

PIL_BICUBIC = "pil-bicubic"

Resample = Callable[[Image, tuple[int, int]], Image]
"""An image ``(h, w, 3)`` uint8 and a size ``(H, W)`` to an image ``(H, W, 3)`` uint8, the channels' order kept."""


def check_image(image: object, name: str) -> None:
    """Raise `ImageError` unless ``image`` is an ``(h, w, 3)`` uint8 array with pixels; ``name`` is for the message."""
    if not isinstance(image, np.ndarray):
        raise ImageError(f"{name} is a {type(image).__name__}; an (h, w, 3) uint8 BGR array is wanted")
    if image.ndim != 3 or image.shape[2] != 3:
        hint = {2: "; it is grey: repeat it, image[..., None].repeat(3, 2)"}.get(image.ndim, "")
        if image.ndim == 3 and image.shape[2] == 1:
            hint = "; it is grey: repeat it, image.repeat(3, 2)"
        elif image.ndim == 3 and image.shape[2] == 4:
            hint = "; it has an alpha channel: drop it, image[..., :3]"
        elif image.ndim == 3 and image.shape[0] == 3:
            hint = "; channels come last: image.transpose(1, 2, 0)"
        raise ImageError(f"{name} has shape {image.shape}; (h, w, 3) BGR is wanted{hint}")
    if image.dtype != np.uint8:
        raise ImageError(
            f"{name} is {image.dtype}; uint8 pixels from 0 to 255 are wanted, not scaled and not standardised"
        )
    if image.size == 0:
        raise ImageError(f"{name} has shape {image.shape}, so no pixels; does its box lie outside of the frame?")


def read_image(path: str | os.PathLike[str]) -> Image:
    """An image file as ``(h, w, 3)`` uint8 BGR, decoded as FastReID does.

    It is turned upright by its EXIF; grey is repeated, and alpha dropped.

    Raises:
        ImageError: there is no such file, or it is no image, or it is damaged.

    Source: fastreid/data/data_utils.py, read_image.
    """
    return _to_bgr(_decode(Path(path)))


def read_resized(path: str | os.PathLike[str], size: tuple[int, int], resampler: str) -> Image:
    """What the resampler makes of what `read_image` reads, ``(H, W, 3)`` uint8 BGR, with fewer copies on the way.

    Raises as `read_image` does.
    """
    picture = _decode(Path(path))
    if resampler == PIL_BICUBIC:
        return _to_bgr(_shrink_pil(picture, size))
    return find_resampler(resampler)(_to_bgr(picture), size)


def _decode(path: Path) -> PIL.Image.Image:
    """An image file, upright and RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large picture, or a palette's alpha: both are handled
            with PIL.Image.open(path) as file:
                file.load()
                PIL.ImageOps.exif_transpose(file, in_place=True)
                return file if file.mode == "RGB" else file.convert("RGB")
    except FileNotFoundError:
        raise ImageError(f"there is no image {path}") from None
    except PIL.UnidentifiedImageError:
        raise ImageError(f"{path} is not an image, or of a kind that Pillow does not read") from None
    except PIL.Image.DecompressionBombError:
        raise ImageError(f"{path} has more pixels than any photograph; it is not decoded") from None
    # Pillow's decoders raise many kinds of errors for damaged files, SyntaxError and struct.error among them.
    except Exception as error:
        raise ImageError(f"{path} cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from None


def _to_bgr(picture: PIL.Image.Image) -> Image:
    # Pillow turns the channels around in a fraction of the time that NumPy takes.
    content = bytearray(picture.tobytes("raw", "BGR"))
    return np.frombuffer(content, np.uint8).reshape(picture.height, picture.width, 3)


def find_resampler(name: str) -> Resample:
    """How images are brought to a size.

    ``pil-bicubic`` smooths when it shrinks; it is what FastReID trains and evaluates with. ``cv2-cubic`` is what
    FastReID's and FastRT's demos use, and ``cv2-linear`` OpenCV's default; neither smooths. The three give three
    embeddings.
    """
    return _RESAMPLERS[name]


def _resize_pil(image: Image, size: tuple[int, int]) -> Image:
    # The order of channels makes no difference to resizing: each is resized alone.
    return np.asarray(_shrink_pil(PIL.Image.fromarray(np.ascontiguousarray(image)), size))


def _shrink_pil(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    height, width = size
    return picture.resize((width, height), PIL.Image.Resampling.BICUBIC)


def _resize_cv2(image: Image, size: tuple[int, int], interpolation: str) -> Image:
    import cv2

    height, width = size
    flag: int = getattr(cv2, interpolation)
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=flag), np.uint8)


_RESAMPLERS: dict[str, Resample] = {
    PIL_BICUBIC: _resize_pil,
    "cv2-cubic": lambda image, size: _resize_cv2(image, size, "INTER_CUBIC"),
    "cv2-linear": lambda image, size: _resize_cv2(image, size, "INTER_LINEAR"),
}

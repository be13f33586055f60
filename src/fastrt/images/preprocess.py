"""Decodes, checks and resizes images. The only module that knows image formats and resamplers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from fastrt.arrays import Image
from fastrt.errors import ImageError

PIL_BICUBIC = "pil-bicubic"

Resample = Callable[[Image, tuple[int, int]], Image]
"""Resizes an image ``(h, w, 3)`` uint8 to a size ``(H, W)``: ``(H, W, 3)`` uint8, channel order unchanged."""


def check_image(image: object, name: str) -> None:
    """Raise `ImageError` unless ``image`` is a non-empty ``(h, w, 3)`` uint8 array; ``name`` is used in the message."""
    if not isinstance(image, np.ndarray):
        raise ImageError(f"{name}: {type(image).__name__}; expected an (h, w, 3) uint8 BGR array. {type_hint(image)}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"{name}: shape {image.shape}; expected (h, w, 3) BGR. {_shape_hint(image.shape)}")
    if image.dtype != np.uint8:
        raise ImageError(
            f"{name}: {image.dtype}; expected uint8 pixels from 0 to 255. Do not scale or standardise them."
        )
    if image.size == 0:
        raise ImageError(f"{name}: shape {image.shape}; expected at least one pixel. Check the box that cropped it.")


def type_hint(value: object) -> str:
    """Say how to make an array, or a list of arrays, of something else."""
    if isinstance(value, str | os.PathLike):
        return "Read files with read_image."
    if isinstance(value, PIL.Image.Image):
        return 'Convert it: np.asarray(image.convert("RGB"))[..., ::-1].'
    if value is None:
        return "cv2.imread returns None for a file that it cannot read: check the path."
    if hasattr(value, "__dlpack__"):
        return "Convert a tensor: tensor.cpu().numpy()."
    if isinstance(value, Mapping):
        return "Give list(images.values())."
    if isinstance(value, Iterable) and not isinstance(value, list | bytes):
        return "Give list(images)."
    return "Give a list of arrays, also for one image: [image]."


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return "Repeat a grey image: image[..., None].repeat(3, 2)."
    if len(shape) == 3 and shape[2] == 1:
        return "Repeat a grey image: image.repeat(3, 2)."
    if len(shape) == 3 and shape[2] == 4:
        return "Drop the alpha channel: image[..., :3]."
    if len(shape) == 3 and shape[0] == 3:
        return "Move the channels last: image.transpose(1, 2, 0)."
    return "Give one array per image."


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read an image file as ``(h, w, 3)`` uint8 BGR, decoded as FastReID does.

    The EXIF orientation is applied, grey images are repeated to 3 channels, and alpha is dropped.

    Raises:
        ImageError: the file does not exist, is not an image, or is damaged.

    Source: fastreid/data/data_utils.py, read_image.
    """
    return _to_bgr(_decode(Path(path)))


def read_resized(path: str | os.PathLike[str], size: tuple[int, int], resampler: str) -> Image:
    """Read and resize an image file to ``(H, W, 3)`` uint8 BGR.

    The result equals `read_image` followed by the resampler, with fewer copies. Raises as `read_image` does.
    """
    image = _decode(Path(path))
    if resampler == PIL_BICUBIC:
        return _to_bgr(image.resize(size[::-1], PIL.Image.Resampling.BICUBIC))
    return find_resampler(resampler)(_to_bgr(image), size)


def _decode(path: Path) -> PIL.Image.Image:
    """Decode an image file: upright, RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large image, or of a palette's alpha: both are handled below
            with PIL.Image.open(path) as file:
                file.load()
                PIL.ImageOps.exif_transpose(file, in_place=True)
                return file if file.mode == "RGB" else file.convert("RGB")
    except FileNotFoundError:
        raise ImageError(f"{path}: does not exist; expected an image. Check the path.") from None
    except PIL.UnidentifiedImageError:
        raise ImageError(f"{path}: unknown content; expected an image format that Pillow reads. Convert it.") from None
    except PIL.Image.DecompressionBombError:
        limit = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(f"{path}: too many pixels; expected at most {limit}. Shrink the image.") from None
    except MemoryError:  # not an error of the file
        raise
    # Pillow's decoders raise many types of errors for damaged files, SyntaxError and struct.error among them.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path}: cannot be decoded ({reason}); expected a complete image. Copy it again.") from None


def _to_bgr(image: PIL.Image.Image) -> Image:
    # Pillow swaps the channels faster than NumPy.
    content = bytearray(image.tobytes("raw", "BGR"))
    return np.frombuffer(content, np.uint8).reshape(image.height, image.width, 3)


def find_resampler(name: str) -> Resample:
    """Return the resize function of a resampler.

    ``pil-bicubic`` filters when it shrinks; FastReID trains and evaluates with it. ``cv2-cubic`` is used by FastReID's
    and FastRT's demos, and ``cv2-linear`` is OpenCV's default; neither filters. Each gives different embeddings.
    """
    return _RESAMPLERS[name]


def _resize_pil(image: Image, size: tuple[int, int]) -> Image:
    # Each channel is resized separately, so their order does not matter.
    resized = PIL.Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], PIL.Image.Resampling.BICUBIC)
    return np.asarray(resized)


def _resize_cv2(image: Image, size: tuple[int, int], interpolation: str) -> Image:
    import cv2

    flag: int = getattr(cv2, interpolation)
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=flag), np.uint8)


_RESAMPLERS: dict[str, Resample] = {
    PIL_BICUBIC: _resize_pil,
    "cv2-cubic": lambda image, size: _resize_cv2(image, size, "INTER_CUBIC"),
    "cv2-linear": lambda image, size: _resize_cv2(image, size, "INTER_LINEAR"),
}

"""Decodes, checks and resizes images. The only module that knows image formats and resamplers."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageFile

from fastrt.arrays import Image, is_plain_array
from fastrt.errors import FastrtError, ImageError, TargetError
from fastrt.images.jpeg import is_cut
from fastrt.images.modes import to_rgb
from fastrt.images.png import is_damaged
from fastrt.paths import as_path

PIL_FILTERS = {"pil-bicubic": PIL.Image.Resampling.BICUBIC, "pil-bilinear": PIL.Image.Resampling.BILINEAR}
"""Pillow's resamplers, and their filters."""

MOST_PIXELS = 8192 * 6144
"""Largest image. It is read with less than 1 GB of memory, and a small file can claim to be any size."""

Resample = Callable[[Image, tuple[int, int]], Image]
"""Resizes an image ``(h, w, 3)`` uint8 to a size ``(H, W)``: ``(H, W, 3)`` uint8, channel order unchanged."""


def check_image(image: object, name: str) -> None:
    """Raise `ImageError` unless ``image`` is a non-empty ``(h, w, 3)`` uint8 array; ``name`` is used in the message."""
    if not is_plain_array(image):
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
    if isinstance(value, np.ma.MaskedArray):
        return "Fill what is masked: array.filled(0)."
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

    The EXIF orientation is applied, grey images are repeated to 3 channels, and alpha is dropped. Values of 16 bits are
    scaled to 8. EXIF data that cannot be read are ignored.

    Raises:
        ImageError: the file does not exist, is not an image, has pixels without a known range, or is damaged so that it
            cannot be decoded; or Pillow is set to read cut images. Only PNG has checksums: a file of another format
            whose bytes changed, or that lacks bytes in its middle, may be decoded to other pixels.

    Source: fastreid/data/data_utils.py, read_image.
    """
    return _to_bgr(_decode(as_path(path, "read_image", ImageError)))


def read_resized(path: str | os.PathLike[str], size: tuple[int, int], resampler: str) -> Image:
    """Read and resize an image file to ``(H, W, 3)`` uint8 BGR.

    The result equals `read_image` followed by the resampler, with fewer copies. Raises as `read_image` does.
    """
    image = _decode(as_path(path, "read_resized", ImageError))
    if resampler in PIL_FILTERS:
        return _to_bgr(image.resize(size[::-1], PIL_FILTERS[resampler]))
    return find_resampler(resampler)(_to_bgr(image), size)


def _decode(path: Path) -> PIL.Image.Image:
    """Decode an image file: upright, RGB."""
    if PIL.ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            f"{path}: PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set; expected False, as Pillow makes up pixels of cut"
            " images with it. Set it to False."
        )
    try:
        with _File(path) as content, PIL.Image.open(content) as file:
            _check(file, path)
            file.load()
            _check_whole(file, content, path)
            turn = _find_turn(file)
            image = to_rgb(file, path)
            return image if turn is None else image.transpose(turn)
    except FileNotFoundError:
        raise ImageError(f"{path}: does not exist; expected an image. Check the path.") from None
    except PIL.UnidentifiedImageError:
        raise ImageError(f"{path}: unknown content; expected an image format that Pillow reads. Convert it.") from None
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):  # warnings may be errors
        raise _too_many_pixels(path) from None
    except OSError as error:
        if error.errno is None:  # of a decoder
            raise _undecodable(path, error) from None
        raise ImageError(f"{path}: cannot be read ({error.strerror}); expected a readable file. Check it.") from None
    except (FastrtError, MemoryError):  # the second is not an error of the file
        raise
    # Pillow's decoders raise many types of errors for damaged files, SyntaxError and struct.error among them.
    except Exception as error:
        raise _undecodable(path, error) from None


class _File(io.BufferedReader):
    """A file that is not read beyond its end.

    A damaged image may ask for any number of bytes, and Python would allocate them first.
    """

    def __init__(self, path: Path) -> None:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # a pipe may never end
            raise ImageError(f"{path}: is not a regular file; expected an image. Check the path.")
        super().__init__(io.FileIO(path))
        self._size = status.st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None else min(size, self._size))


def _check(file: PIL.Image.Image, path: Path) -> None:
    if file.width * file.height > MOST_PIXELS:
        raise _too_many_pixels(path)
    if file.format == "EPS":  # Pillow would run Ghostscript
        raise ImageError(f"{path}: PostScript, which is a program; expected pixels. Convert it to PNG.")


def _check_whole(file: PIL.Image.Image, content: _File, path: Path) -> None:
    if is_cut(file, content):
        raise _undecodable(path, "its pixels end too early")
    if is_damaged(file, content):
        raise _undecodable(path, "its checksums differ, or its end is missing")


def _too_many_pixels(path: Path) -> ImageError:
    return ImageError(f"{path}: too many pixels; expected at most {MOST_PIXELS}. Shrink the image.")


def _undecodable(path: Path, error: Exception | str) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{path}: cannot be decoded ({reason}); expected a complete image. Copy it again.")


_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright."""


def _find_turn(file: PIL.Image.Image) -> PIL.Image.Transpose | None:
    """Read the EXIF orientation. It is ignored if the EXIF data are damaged: the pixels are not."""
    try:
        return _TURNS.get(file.getexif().get(PIL.ExifTags.Base.Orientation, 1))
    except (FastrtError, MemoryError, Warning):  # warnings may be errors: not of every damage, so the tag may be there
        raise
    except Exception:  # the parser raises many types of errors, SyntaxError and struct.error among them
        return None


def _to_bgr(image: PIL.Image.Image) -> Image:
    # Pillow swaps the channels faster than NumPy.
    content = bytearray(image.tobytes("raw", "BGR"))
    return np.frombuffer(content, np.uint8).reshape(image.height, image.width, 3)


def find_resampler(name: str) -> Resample:
    """Return the resize function of a resampler.

    FastReID trains and evaluates with ``pil-bicubic``, torchreid with ``pil-bilinear``; both filter when they shrink.
    ``cv2-cubic`` is used by FastReID's and FastRT's demos, and ``cv2-linear`` is OpenCV's default; neither filters.
    Each gives different embeddings.

    Raises:
        TargetError: the resampler is OpenCV's, which cannot be imported.
    """
    if name in PIL_FILTERS:
        return partial(_resize_pil, PIL_FILTERS[name])
    try:
        import cv2
    except ImportError as error:
        raise TargetError(
            f"resampler {name}: OpenCV cannot be imported ({error}); expected one of its packages: opencv-python,"
            " opencv-contrib-python, or either with -headless. Run pip install 'fastrt[opencv]' if none is installed."
        ) from None
    interpolation: int = {"cv2-cubic": cv2.INTER_CUBIC, "cv2-linear": cv2.INTER_LINEAR}[name]

    def resize_cv2(image: Image, size: tuple[int, int]) -> Image:
        return np.asarray(cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=interpolation), np.uint8)

    return resize_cv2


def _resize_pil(method: PIL.Image.Resampling, image: Image, size: tuple[int, int]) -> Image:
    # Each channel is resized separately, so their order does not matter.
    return np.asarray(PIL.Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], method))

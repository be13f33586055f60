"""Blurs and resizes float images."""

from __future__ import annotations

import numpy as np
import PIL.Image

from fastrt.arrays import Array


def blur(image: Array, sigma: float) -> Array:
    """Blur an image ``(h, w)`` or ``(h, w, channels)`` by a Gaussian of ``sigma`` pixels; its border is repeated."""
    reach = max(round(3 * sigma), 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(image.dtype)
    weights /= weights.sum()
    for axis, size in enumerate(image.shape[:2]):
        padded = image.take(np.clip(np.arange(-reach, size + reach), 0, size - 1), axis)
        image = np.zeros_like(image)
        for i, weight in enumerate(weights):
            image += weight * (padded[i : i + size] if axis == 0 else padded[:, i : i + size])
    return image


def resize_by_area(image: Array, height: int, width: int) -> Array:
    """Resize a float32 image ``(h, w, channels)``: each new pixel is the mean of those that it covers."""
    size, box = (width, height), PIL.Image.Resampling.BOX
    channels = (PIL.Image.fromarray(np.ascontiguousarray(image[..., i])) for i in range(image.shape[2]))
    return np.dstack([np.asarray(channel.resize(size, box)) for channel in channels])

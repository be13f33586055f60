"""A synthetic camera: background, colours and sharpness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array, Image
from fastrt.images.filters import blur
from fastrt.images.raster import paint_line


@dataclass(frozen=True, eq=False)
class Camera:
    """Properties of one camera.

    Attributes:
        scene: background, ``(480, 640, 3)`` uint8 BGR; crops show a part of it.
        gains: factors of blue, green and red.
        gamma: exponent of the brightness.
        blur: standard deviation in pixels, at a height of 128 pixels.
        noise: standard deviation in levels of 0 to 255.
        height: mean height of crops in pixels.
    """

    scene: Image
    gains: Array
    gamma: float
    blur: float
    noise: float
    height: float


def make_camera(rng: np.random.Generator) -> Camera:
    """Draw a random camera."""
    return Camera(
        scene=_draw_scene(rng),
        gains=rng.normal(1, 0.09, 3),
        gamma=float(np.exp(rng.normal(0, 0.22))),
        blur=float(rng.uniform(0.2, 1.1)),
        noise=float(rng.uniform(2, 8)),
        height=float(rng.uniform(90, 240)),
    )


def _draw_scene(rng: np.random.Generator) -> Image:
    """Draw a street: a wall with windows, a pavement and obstacles."""
    height, width = 480, 640
    scene: Array = np.empty((height, width, 3), np.float32)
    horizon = int(rng.uniform(0.35, 0.6) * height)
    wall, ground = (rng.integers(70, 200) + rng.normal(0, 14, 3) for _ in range(2))
    scene[:horizon] = np.clip(wall, 0, 255)
    scene[horizon:] = np.clip(ground + np.linspace(-25, 25, height - horizon)[:, None, None], 0, 255)
    step = int(rng.integers(50, 110))
    frame = rng.integers(30, 220, 3)
    for x in range(int(rng.integers(step)), width, step):
        scene[30 : horizon - 39, x : x + step // 2 + 1] = frame
    for _ in range(int(rng.integers(6, 14))):
        colour = rng.integers(20, 235, 3)
        x, y = int(rng.integers(width)), int(rng.integers(horizon - 60, height))
        size = int(rng.integers(12, 70)), int(rng.integers(20, 110))
        scene[max(y - size[1], 0) : y + 1, x : x + size[0] + 1] = colour
    for _ in range(int(rng.integers(2, 8))):
        x = int(rng.integers(width))
        end = (int(x + rng.normal(0, 200)), height)
        paint_line(scene, [(x, horizon), end], 3, rng.integers(90, 230, 3).astype(np.float32))
    grain = blur(rng.normal(0, 30, (height, width)).astype(np.float32), 3)
    return np.asarray(np.clip(scene + grain[..., None], 0, 255), np.uint8)

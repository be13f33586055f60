"""Synthetic images of people, to try a network without photographs."""

from __future__ import annotations

import numpy as np

from fastrt.arrays import Array, Image
from fastrt.images.raster import paint_ellipse, paint_line


def draw_person(identity: int, view: int, height: int = 256, width: int = 128) -> Image:
    """Draw person ``identity`` as seen by camera ``view``: ``(height, width, 3)`` uint8 BGR.

    The result is deterministic. Views differ in position, light, background and noise.
    """
    clothes = np.random.default_rng(identity)
    scene = np.random.default_rng([identity, view, 1])
    skin, hair, shirt, trousers, shoes, stripe = clothes.integers(20, 236, (6, 3)).astype(np.float32)
    ground = scene.integers(60, 200, 3)
    rows = np.linspace(-30, 30, height)[:, None, None]
    image: Array = np.clip(ground + rows + np.zeros((1, width, 1)), 0, 255).astype(np.float32)
    centre = 0.5 + float(scene.uniform(-0.06, 0.06))
    size = float(scene.uniform(0.9, 1.05))

    def at(x: float, y: float) -> tuple[int, int]:
        return int((centre + (x - 0.5) * size) * width), int((0.5 + (y - 0.5) * size) * height)

    swing = float(scene.uniform(0.02, 0.12))
    limb = max(int(0.13 * size * width), 1)
    for side in (-1, 1):
        hip, foot = at(0.5 + side * 0.09, 0.55), at(0.5 + side * (0.09 + swing / 2), 0.93)
        paint_line(image, [hip, foot], limb, trousers)
        paint_line(image, [foot, foot], limb * 4 // 3, shoes)
        paint_line(image, [at(0.5 + side * 0.2, 0.24), at(0.5 + side * (0.2 + swing), 0.52)], limb * 2 // 3, shirt)
    for above, below, colour in ((0.2, 0.57, shirt), (0.34, 0.42, stripe)):
        (left, top), (right, bottom) = at(0.28, above), at(0.72, below)
        image[top : bottom + 1, left : right + 1] = colour
    axes = (max(int(0.12 * size * width), 1), max(int(0.07 * size * height), 1))
    paint_ellipse(image, at(0.5, 0.12), axes, skin)
    paint_ellipse(image, at(0.5, 0.09), axes, hair, upper=True)
    light = float(scene.uniform(0.8, 1.2))
    noisy = image * light + scene.normal(0, 6, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

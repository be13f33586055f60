"""Synthetic images of people, to try a network without photographs."""

from __future__ import annotations

import numpy as np

from fastrt.arrays import Image


def draw_person(identity: int, view: int, height: int = 256, width: int = 128) -> Image:
    """Draw person ``identity`` as seen by camera ``view``: ``(height, width, 3)`` uint8 BGR.

    The result is deterministic. Views differ in position, light, background and noise.
    """
    import cv2

    clothes = np.random.default_rng(identity)
    scene = np.random.default_rng([identity, view, 1])
    skin, hair, shirt, trousers, shoes = (tuple(map(int, clothes.integers(20, 236, 3))) for _ in range(5))
    stripe = tuple(map(int, clothes.integers(20, 236, 3)))
    ground = scene.integers(60, 200, 3)
    rows = np.linspace(-30, 30, height)[:, None, None]
    image = np.clip(ground + rows + np.zeros((1, width, 1)), 0, 255).astype(np.uint8)
    centre = 0.5 + float(scene.uniform(-0.06, 0.06))
    size = float(scene.uniform(0.9, 1.05))

    def at(x: float, y: float) -> tuple[int, int]:
        return int((centre + (x - 0.5) * size) * width), int((0.5 + (y - 0.5) * size) * height)

    swing = float(scene.uniform(0.02, 0.12))
    limb = max(int(0.13 * size * width), 1)
    for side in (-1, 1):
        hip, foot = at(0.5 + side * 0.09, 0.55), at(0.5 + side * (0.09 + swing / 2), 0.93)
        cv2.line(image, hip, foot, trousers, limb)
        cv2.circle(image, foot, limb * 2 // 3, shoes, -1)
        cv2.line(image, at(0.5 + side * 0.2, 0.24), at(0.5 + side * (0.2 + swing), 0.52), shirt, limb * 2 // 3)
    cv2.rectangle(image, at(0.28, 0.2), at(0.72, 0.57), shirt, -1)
    cv2.rectangle(image, at(0.28, 0.34), at(0.72, 0.42), stripe, -1)
    axes = (max(int(0.12 * size * width), 1), max(int(0.07 * size * height), 1))
    cv2.ellipse(image, at(0.5, 0.12), axes, 0, 0, 360, skin, -1)
    cv2.ellipse(image, at(0.5, 0.09), axes, 0, 180, 360, hair, -1)
    light = float(scene.uniform(0.8, 1.2))
    noisy = image * light + scene.normal(0, 6, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def draw_blocks(height: int, width: int, seed: int = 0) -> Image:
    """Draw an image of 8 x 4 blocks of random colours and some noise: ``(height, width, 3)`` uint8, without OpenCV."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (8, 4, 3))
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 4 // width
    noisy = colours[rows[:, None], columns] + rng.normal(0, 8, (height, width, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

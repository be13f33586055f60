"""Draws crops of pedestrians, and writes a data set of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image

from fastrt.arrays import Array, Image
from fastrt.datasets.synthetic.camera import Camera, make_camera
from fastrt.datasets.synthetic.figure import CANVAS, choose_pose, draw_figure
from fastrt.datasets.synthetic.look import CLOTHES, Look, choose_look
from fastrt.errors import OutputError
from fastrt.files import writing
from fastrt.images.filters import blur, resize_by_area
from fastrt.images.raster import paint_ellipse

FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
QUALITY = (55, 92)
"""Range of the JPEG quality."""


def draw_crop(look: Look, camera: Camera, rng: np.random.Generator) -> Image:
    """Draw a person as a detector crops them from a camera's frame: ``(h, w, 3)`` uint8 BGR of a random size."""
    figure, mask = draw_figure(look, choose_pose(rng))
    image = _put_before(_cut_scene(camera.scene, rng), figure, mask, rng)
    if rng.random() < 0.25:
        _occlude(image, rng)
    image = _cut_out(image, rng)
    height = int(np.clip(camera.height * rng.normal(1, 0.12), 64, 320))
    width = int(np.clip(height * rng.normal(0.45, 0.03), 28, 160))
    image = blur(resize_by_area(image, height, width), max(camera.blur * height / 128, 0.1))
    light = 255 * (np.clip(image * camera.gains * rng.normal(1, 0.07), 0, 255) / 255) ** camera.gamma
    return np.asarray(np.clip(light + rng.normal(0, camera.noise, image.shape), 0, 255), np.uint8)


def _cut_scene(scene: Image, rng: np.random.Generator) -> Array:
    height, width = CANVAS
    y, x = (int(rng.integers(size - cut + 1)) for size, cut in zip(scene.shape, CANVAS, strict=False))
    return scene[y : y + height, x : x + width].astype(np.float32)


def _put_before(image: Array, figure: Array, mask: Array, rng: np.random.Generator) -> Array:
    """Blend the figure into the background, with light from one side and a shadow."""
    lit = float(rng.uniform(-0.25, 0.25))
    side = np.linspace(1 - lit, 1 + lit, figure.shape[1], dtype=np.float32)[:, None]
    return np.asarray(image * _draw_shadow() * (1 - mask[..., None]) + figure * side * mask[..., None])


@cache
def _draw_shadow() -> Array:
    """Draw the factor of the background's light around the feet, ``(384, 192, 1)``."""
    light: Array = np.ones((*CANVAS, 1), np.float32)
    paint_ellipse(light, (CANVAS[1] // 2, int(0.955 * CANVAS[0])), (56, 9), np.array([0.55], np.float32))
    return blur(light, 5)


def _occlude(image: Array, rng: np.random.Generator) -> None:
    """Draw an occlusion: a post, a low wall, or a part of another person."""
    height, width = image.shape[:2]
    colour = np.array(CLOTHES[rng.integers(len(CLOTHES))], float)
    variant = rng.integers(3)
    if variant == 0:
        x = int(rng.uniform(0.1, 0.9) * width)
        image[:, x : x + int(rng.integers(8, 22))] = colour
    elif variant == 1:
        image[int(rng.uniform(0.6, 0.85) * height) :] = colour
    else:
        figure, mask = draw_figure(choose_look(rng), choose_pose(rng))
        shift = int(rng.choice([-1, 1]) * rng.uniform(0.25, 0.45) * width)
        figure, mask = np.roll(figure, shift, 1), np.roll(mask, shift, 1)
        image[:] = image * (1 - mask[..., None]) + figure * mask[..., None]


def _cut_out(image: Array, rng: np.random.Generator) -> Array:
    """Crop the image with a detector's inaccuracy."""
    height, width = image.shape[:2]
    top, bottom = (int(max(rng.normal(0.02, 0.025), 0) * height) for _ in range(2))
    left, right = (int(np.clip(rng.normal(0.09, 0.05), 0, 0.22) * width) for _ in range(2))
    return image[top : height - bottom, left : width - right]


def write_synthetic(
    root: str | os.PathLike[str],
    *,
    train: int = 500,
    test: int = 150,
    distractors: int = 300,
    cameras: int = 6,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Path:
    """Draw a data set and write it with Market-1501's layout. The same arguments give the same images.

    At least 3 cameras (or both of 2) see each person, 2 to 4 times each. Of the test people, one image per camera is a
    query. The rest is the gallery, together with distractors.

    Args:
        root: output folder, created or empty.
        train: number of training identities, none of which is in the test set.
        test: number of test identities.
        distractors: number of gallery images of other people.
        cameras: number of cameras, at least 2; the same for training and testing.
        seed: random seed.
        advance: called with the number of people drawn since the last call.

    Returns:
        The root.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
    """
    root = Path(root)
    views = [make_camera(np.random.default_rng([seed, 1, i])) for i in range(cameras)]
    with writing(root):
        if root.exists() and any(root.iterdir()):
            raise OutputError(f"{root}: is not empty; expected an empty or a new folder. Name another one.")
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True)
        for pid in range(1, train + test + 1):
            _write_person(root, pid, views, np.random.default_rng([seed, 2, pid]), tested=pid > train)
            advance(1)
        for i in range(distractors):
            rng = np.random.default_rng([seed, 3, i])
            camera = int(rng.integers(cameras))
            path = root / "bounding_box_test" / f"0000_c{camera + 1}s1_{i:06}_00.jpg"
            _save(path, choose_look(rng), views[camera], rng)
    return root


def _write_person(root: Path, pid: int, cameras: list[Camera], rng: np.random.Generator, *, tested: bool) -> None:
    look = choose_look(rng)
    seen_by = sorted(rng.permutation(len(cameras))[: rng.integers(min(3, len(cameras)), len(cameras) + 1)])
    for camera in seen_by:
        for i in range(int(rng.integers(2, 5))):
            folder = "bounding_box_train" if not tested else "query" if i == 0 else "bounding_box_test"
            _save(root / folder / f"{pid:04}_c{camera + 1}s1_{i:06}_00.jpg", look, cameras[camera], rng)


def _save(path: Path, look: Look, camera: Camera, rng: np.random.Generator) -> None:
    quality = int(rng.integers(*QUALITY))
    PIL.Image.fromarray(draw_crop(look, camera, rng)[..., ::-1]).save(path, quality=quality)

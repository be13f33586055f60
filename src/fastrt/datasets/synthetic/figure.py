"""Draws a person in a pose, with a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array
from fastrt.datasets.synthetic.look import Colour, Garment, Look
from fastrt.images.filters import blur
from fastrt.images.raster import Point, paint_ellipse, paint_line, paint_polygon

CANVAS = (384, 192)
"""Height and width of a drawn figure, larger than any crop."""

VIEWS = ("front", "back", "left", "right")


@dataclass(frozen=True)
class Pose:
    """The pose of a person: view (one of `VIEWS`), stride of the legs, swing of the arms, lean of the body."""

    view: str
    stride: float
    swing: float
    lean: float


def choose_pose(rng: np.random.Generator) -> Pose:
    """Draw a random pose."""
    return Pose(
        str(rng.choice(VIEWS)), float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)), float(rng.normal(0, 0.012))
    )


def draw_figure(look: Look, pose: Pose) -> tuple[Array, Array]:
    """Draw a figure ``(384, 192, 3)`` float32 BGR, 0 to 255, and its mask ``(384, 192)`` float32, 0 to 1."""
    return _Drawing(look, pose).draw()


class _Drawing:
    """A canvas of blue, green, red and mask.

    Points are (x, y) in units of its height: x from the centre, y from the top.
    """

    def __init__(self, look: Look, pose: Pose) -> None:
        self.look, self.pose = look, pose
        self.canvas: Array = np.zeros((*CANVAS, 4), np.float32)
        self.aside = pose.view in ("left", "right")
        self.facing = {"left": -1, "right": 1}.get(pose.view, 0)
        self.broad = look.girth * (0.72 if self.aside else 1.0)

    def draw(self) -> tuple[Array, Array]:
        look, front = self.look, self.pose.view == "front"
        if look.bag == "backpack" and front:
            self._backpack(0.03)
        self._arm(-1)
        self._leg(-1)
        self._leg(1)
        if look.legs == "skirt":
            hips = 0.075 * self.broad
            self._cloth([(-hips, 0.5), (hips, 0.5), (hips * 1.5, 0.7), (-hips * 1.5, 0.7)], look.lower)
        self._torso()
        self._head()
        if look.bag == "backpack" and not front:
            self._backpack(0.0)
        self._arm(1)
        if look.bag == "shoulder":
            self._line([(-0.07, 0.2), (0.1, 0.52)], look.bag_colour, 0.012)
            self._shape([(0.06, 0.5), (0.15, 0.5), (0.15, 0.6), (0.06, 0.6)], look.bag_colour)
        return self.canvas[..., :3], blur(self.canvas[..., 3], 0.7) / 255

    def _torso(self) -> None:
        shoulders, waist = 0.105 * self.broad, 0.08 * self.broad
        right = [(shoulders, 0.19), (waist, 0.4), (waist * 1.08, 0.54)]
        outline = [*right, *((-x, y) for x, y in reversed(right))]
        self._cloth(outline, self.look.upper)
        if self.look.open_front and self.pose.view == "front":
            self._shape([(-0.022, 0.18), (0.022, 0.18), (0.022, 0.54), (-0.022, 0.54)], self.look.upper.other)
        if self.look.upper.texture == "print" and self.pose.view == "front":
            self._oval(self._at((0.0, 0.3)), (15, 12), self.look.upper.other)

    def _leg(self, side: int) -> None:
        look, spread = self.look, 0.035 * self.broad
        swung = side * self.pose.stride * (0.09 if self.aside else 0.02)
        hip, knee = (side * spread * (0.3 if self.aside else 1), 0.5), (side * spread * 0.9 + swung * 0.5, 0.71)
        foot = (side * spread + swung, 0.93 - abs(swung) * 0.1)
        self._line([hip, knee, foot], look.skin, 0.05 * look.girth)
        below = {"trousers": [hip, knee, foot], "shorts": [hip, knee], "skirt": [hip]}[look.legs]
        if len(below) > 1:
            self._line(below, _shade(look.lower.colour, 0.92 if side < 0 else 1.0), 0.066 * look.girth)
            if look.lower.texture == "bars":
                self._line(below, look.lower.other, 0.014)
        toe = (foot[0] + 0.03 * (self.facing or side * 0.4), 0.955)
        self._line([(foot[0], 0.945), toe], look.shoes, 0.04)

    def _arm(self, side: int) -> None:
        look = self.look
        swung = side * self.pose.swing * (0.1 if self.aside else 0.03)
        shoulder = (side * (0.02 if self.aside else 0.105 * self.broad), 0.215)
        elbow = (shoulder[0] + side * 0.02 + swung * 0.5, 0.37)
        hand = (shoulder[0] + side * 0.022 + swung, 0.51)
        self._line([shoulder, elbow, hand], look.skin, 0.034 * look.girth)
        sleeve = [shoulder, elbow] if look.sleeves < 1 else [shoulder, elbow, hand]
        self._line(sleeve, _shade(look.upper.colour, 0.9), 0.046 * look.girth)
        if look.bag == "hand" and side > 0:
            x, top, bottom = hand[0], hand[1] + 0.02, hand[1] + 0.13
            outline = [(x - 0.045, top), (x + 0.045, top), (x + 0.04, bottom), (x - 0.04, bottom)]
            self._shape(outline, look.bag_colour)

    def _head(self) -> None:
        look, view = self.look, self.pose.view
        x, y = self._at((0.008 * self.facing, 0.115))
        tall, wide = int(0.062 * CANVAS[0]), int(0.046 * CANVAS[0])
        self._line([(0.0, 0.15), (0.0, 0.2)], look.skin, 0.04)
        if look.haircut == "long":
            self._oval((x, y + 9), (wide + 5, tall + 12), look.hair)
        elif look.haircut == "tail" and view != "front":
            self._oval((x - 12 * self.facing, y + 18), (7, 20), look.hair)
        self._oval((x, y), (wide, tall), look.hair if view == "back" and look.haircut != "bald" else look.skin)
        if look.haircut != "bald" and view != "back":
            self._oval((x - 3 * self.facing, y - 5), (wide, tall - 3), look.hair, upper=True)
        if look.haircut == "cap":
            self._oval((x, y - 6), (wide + 1, tall - 6), look.bag_colour, upper=True)
        if view == "front":
            for side in (-1, 1):
                self._oval((x + 7 * side, y + 2), (2, 2), (30, 30, 30))

    def _backpack(self, lower: float) -> None:
        wide = 0.075 if not self.aside else 0.045
        shift = -0.075 * self.facing
        outline = [(shift - wide, 0.2 + lower), (shift + wide, 0.2 + lower), (shift + wide, 0.43), (shift - wide, 0.43)]
        self._shape(outline, self.look.bag_colour)
        self._line([(shift - wide * 0.7, 0.33), (shift + wide * 0.7, 0.33)], _shade(self.look.bag_colour, 0.6), 0.008)

    def _cloth(self, outline: Sequence[Point], garment: Garment) -> None:
        """Draw a textured polygon."""
        paint_polygon(self.canvas, [self._at(point) for point in outline], weave_texture(garment))

    def _shape(self, outline: Sequence[Point], colour: Colour) -> None:
        paint_polygon(self.canvas, [self._at(point) for point in outline], _opaque(colour))

    def _line(self, points: Sequence[Point], colour: Colour, thickness: float) -> None:
        width = max(int(thickness * CANVAS[0]), 1)
        paint_line(self.canvas, [self._at(point) for point in points], width, _opaque(colour))

    def _oval(self, centre: Point, axes: Point, colour: Colour, *, upper: bool = False) -> None:
        paint_ellipse(self.canvas, centre, axes, _opaque(colour), upper=upper)

    def _at(self, point: Point) -> tuple[int, int]:
        x, y = point
        y = 0.97 - (0.97 - y) * self.look.height
        x += self.pose.lean * (0.97 - y)
        return round(CANVAS[1] / 2 + x * CANVAS[0]), round(y * CANVAS[0])


def weave_texture(garment: Garment) -> Array:
    """Return a garment's colours: ``(4,)`` float32 if it is plain, else the whole canvas, ``(384, 192, 4)``."""
    rows, columns = np.ogrid[: CANVAS[0], : CANVAS[1]]
    step = CANVAS[0] // (4 * garment.repeats)
    across, down = rows // step % 2 == 0, columns // max(step // 2, 2) % 2 == 0
    if garment.texture == "dots":
        second = ((rows % (2 * step) - step) ** 2 + (columns % (2 * step) - step) ** 2) < (step * 0.6) ** 2
    elif garment.texture in ("stripes", "bars", "checks"):
        second = {"stripes": across, "bars": down, "checks": across ^ down}[garment.texture]
    else:
        return _opaque(garment.colour)
    second = np.broadcast_to(second, CANVAS)[..., None]
    return np.where(second, _opaque(garment.other), _opaque(garment.colour))


def _opaque(colour: Colour) -> Array:
    return np.array((*colour, 255), np.float32)


def _shade(colour: Colour, by: float) -> Colour:
    blue, green, red = (int(part * by) for part in colour)
    return blue, green, red

"""Draws filled shapes with smooth edges on a canvas, by each pixel's distance to the shape.

A canvas is a ``(height, width, channels)`` float32 array. A point is (x, y) in pixels; integers are centres of pixels.
A pixel inside a shape or on its outline gets the whole colour, a pixel `SOFT` away gets none of it. A colour is
``(channels,)`` float32, or a canvas that holds each pixel's colour. The arithmetic is NumPy's basic operations and
square roots, so every host draws the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from math import ceil, floor

import numpy as np

from fastrt.arrays import Array

SOFT = 1.1
"""Distance in pixels at which a shape's colour ends. The demo's model was trained on shapes with such edges."""

Point = tuple[float, float]


def paint_line(canvas: Array, points: Sequence[Point], width: int, colour: Array) -> None:
    """Paint a line through points with round ends; an odd width is rounded up."""
    radius = (width + 1) // 2
    box, x, y = _find_box(canvas, points, radius)
    _paint(canvas, box, _measure_to_path(x, y, points) - radius, colour)


def paint_polygon(canvas: Array, points: Sequence[Point], colour: Array) -> None:
    """Paint a polygon, which need not be convex."""
    closed = [*points, points[0]]
    box, x, y = _find_box(canvas, points, 0)
    inside = np.zeros((y.size, x.size), bool)
    for (x0, y0), (x1, y1) in pairwise(closed):
        if y0 != y1:  # a ray to the right crosses this edge
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    _paint(canvas, box, np.where(inside, 0, _measure_to_path(x, y, closed)), colour)


def paint_ellipse(canvas: Array, centre: Point, axes: Point, colour: Array, *, upper: bool = False) -> None:
    """Paint an ellipse with half axes ``axes`` (x, y), or the upper half of it."""
    box, x, y = _find_box(canvas, [(centre[0] + s * axes[0], centre[1] + s * axes[1]) for s in (-1, 1)], 0)
    x, y = (x - centre[0]) / axes[0], (y - centre[1]) / axes[1]
    radius = np.sqrt(x**2 + y**2)  # 1 on the outline; divided by its gradient, nearly the distance in pixels
    slope = np.sqrt((x / axes[0]) ** 2 + (y / axes[1]) ** 2)
    distance = radius * (radius - 1) / np.maximum(slope, np.float32(1e-6))
    _paint(canvas, box, np.maximum(distance, y * axes[1]) if upper else distance, colour)


def _find_box(canvas: Array, points: Sequence[Point], radius: int) -> tuple[tuple[slice, slice], Array, Array]:
    """Return the part of the canvas that a shape can touch, and its pixels' x ``(1, w)`` and y ``(h, 1)``."""
    left, right = _find_range([x for x, _ in points], radius, canvas.shape[1])
    top, bottom = _find_range([y for _, y in points], radius, canvas.shape[0])
    x, y = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)
    return (slice(top, bottom), slice(left, right)), x[None], y[:, None]


def _find_range(values: Sequence[float], radius: int, size: int) -> tuple[int, int]:
    start = min(max(floor(min(values)) - radius - 1, 0), size)
    return start, max(min(ceil(max(values)) + radius + 2, size), start)


def _measure_to_path(x: Array, y: Array, points: Sequence[Point]) -> Array:
    """Return each pixel's distance to the nearest of the segments between points, ``(h, w)``."""
    squares = []
    for (x0, y0), (x1, y1) in pairwise(points):
        wide, tall = x1 - x0, y1 - y0
        right, down = x - x0, y - y0
        if square := wide**2 + tall**2:
            along = np.minimum(np.maximum((right * wide + down * tall) / square, 0), 1)
            right, down = right - along * wide, down - along * tall
        squares.append(right**2 + down**2)
    return np.asarray(np.sqrt(reduce(np.minimum, squares)))


def _paint(canvas: Array, box: tuple[slice, slice], distance: Array, colour: Array) -> None:
    share = np.maximum(np.minimum(SOFT - distance, 1), 0)[..., None]
    part = canvas[box]
    part += ((colour[box] if colour.ndim == 3 else colour) - part) * share

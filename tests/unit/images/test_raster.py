"""Shapes and filters of drawn images."""

from __future__ import annotations

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.images.filters import blur, resize_by_area
from fastrt.images.raster import paint_ellipse, paint_line, paint_polygon

WHITE = np.ones(1, np.float32)


def _canvas(height: int = 60, width: int = 80) -> Array:
    return np.zeros((height, width, 1), np.float32)


def test_a_line_has_round_ends_and_the_width_asked_for() -> None:
    canvas = _canvas()
    paint_line(canvas, [(20, 30), (50, 30)], 10, WHITE)
    assert (canvas[25:36, 20:51] == 1).all()
    assert canvas[:24].max() == canvas[37:].max() == 0
    assert canvas[30, 15] == 1
    assert canvas[30, 13] == canvas[25, 15] == 0
    assert canvas.sum() == pytest.approx(30 * 11.2 + np.pi * 5.6**2, rel=0.01)  # and an edge


def test_a_line_of_no_length_is_a_disc() -> None:
    canvas = _canvas()
    paint_line(canvas, [(40, 30), (40, 30)], 20, WHITE)
    assert np.isfinite(canvas).all()
    np.testing.assert_array_equal(canvas[:, 10:71], canvas[:, 70:9:-1])
    assert canvas.sum() == pytest.approx(np.pi * 10.6**2, rel=0.02)


def test_a_polygon_may_be_concave() -> None:
    canvas = _canvas()
    paint_polygon(canvas, [(10, 10), (70, 10), (40, 30), (70, 50), (10, 50)], WHITE)
    assert canvas[30, 20] == canvas[12, 60] == canvas[48, 60] == 1
    assert canvas[30, 60] == canvas[5, 30] == 0


def test_an_ellipse_and_its_upper_half() -> None:
    whole, half = _canvas(), _canvas()
    paint_ellipse(whole, (40, 30), (20, 10), WHITE)
    paint_ellipse(half, (40, 30), (20, 10), WHITE, upper=True)
    assert whole.sum() == pytest.approx(np.pi * 20.6 * 10.6, rel=0.02)
    np.testing.assert_array_equal(half[:30], whole[:30])
    assert half[32:].sum() == 0


@pytest.mark.parametrize("shift", [(-200, 0), (200, 0), (0, -200), (0, 200), (-40, -30)])
def test_shapes_beyond_the_canvas_are_cut_off(shift: tuple[int, int]) -> None:
    large, canvas = np.zeros((500, 500, 1), np.float32), _canvas()
    for target, (x, y) in ((canvas, shift), (large, (shift[0] + 210, shift[1] + 210))):
        paint_line(target, [(x + 20, y + 10), (x + 60, y + 50)], 8, WHITE)
        paint_polygon(target, [(x, y), (x + 30, y + 10), (x + 5, y + 50)], WHITE / 2)
        paint_ellipse(target, (x + 60, y + 20), (20, 12), WHITE / 3)
    np.testing.assert_allclose(canvas, large[210:270, 210:290], atol=1e-4)


def test_a_shape_takes_its_colours_from_a_canvas() -> None:
    canvas, colours = _canvas(), np.random.default_rng(0).random((60, 80, 1), np.float32)
    paint_polygon(canvas, [(10, 10), (30, 10), (30, 30), (10, 30)], colours)
    np.testing.assert_allclose(canvas[10:31, 10:31], colours[10:31, 10:31], rtol=1e-6)


def test_blur_spreads_a_point_by_a_gaussian_and_keeps_flat_images() -> None:
    image = np.zeros((41, 51), np.float32)
    image[20, 25] = 1
    blurred = blur(image, 2.5)
    assert blurred.sum() == pytest.approx(1, rel=1e-5)
    spread = (blurred.sum(1) * (np.arange(41) - 20) ** 2).sum() ** 0.5
    assert spread == pytest.approx(2.5, rel=0.03)
    np.testing.assert_allclose(blur(np.full((9, 7, 3), 5, np.float32), 4), 5, rtol=1e-5)


def test_shrinking_takes_means() -> None:
    image = np.random.default_rng(0).random((40, 30, 3), np.float32)
    want = image.reshape(10, 4, 15, 2, 3).mean((1, 3))
    np.testing.assert_allclose(resize_by_area(image, 10, 15), want, rtol=1e-5)
    assert resize_by_area(image, 37, 31).shape == (37, 31, 3)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastrt
from conftest import Small
from fastrt.arrays import Array, Image
from fastrt.images.drawing import draw_person
from fastrt.targets.engine_info import Io
from fastrt.targets.reference import run_reference

IMAGES = [draw_person(i, 0, 60 + 11 * i, 30 + 7 * i) for i in range(11)]


def _close(got: Array, want: Array) -> None:
    np.testing.assert_allclose(got, want, atol=2e-5)  # batches of other sizes are summed in another order


def test_embeddings_come_in_order_and_of_unit_length(small: Small) -> None:
    with fastrt.load(small.engine, batch=4) as session:
        together = session(IMAGES)
        alone = np.concatenate([session([image]) for image in IMAGES])
    assert together.shape == (11, 512)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    _close(together, alone)


def test_a_raw_engine_gives_what_the_model_returns(small: Small, tmp_path: Path) -> None:
    fastrt.build(small.network, tmp_path / "raw.xml", normalize=False)
    batch = np.stack([draw_person(i, 1, 64, 32) for i in range(3)])
    want = run_reference(small.network, batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    with fastrt.load(tmp_path / "raw.xml") as session:
        got = session(batch)
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
    assert not np.allclose(np.linalg.norm(got, axis=1), 1)


@pytest.mark.parametrize("io", ["u8_nhwc_bgr", "f32_nchw_rgb"])
@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_both_input_profiles_give_the_same(io: Io, suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"engine{suffix}"
    fastrt.build(small.network, path, io=io)
    with fastrt.load(small.engine) as default, fastrt.load(path) as session:
        assert session.info.io == io
        _close(session(IMAGES[:3]), default(IMAGES[:3]))


def test_strided_views_are_what_they_show(small: Small) -> None:
    frame = draw_person(5, 0, 200, 150)
    views = [frame[20:120, 30:90], frame[::-1, ::2], frame[:, :, ::-1]]
    with fastrt.load(small.engine) as session:
        np.testing.assert_array_equal(session(views), session([view.copy() for view in views]))
        batch = np.stack([draw_person(1, 0, 64, 32)] * 2)[:, :, ::-1]
        np.testing.assert_array_equal(session(batch), session(batch.copy()))


def test_the_resampler_stands_in_the_file_and_makes_a_difference(small: Small, tmp_path: Path) -> None:
    results = []
    for resampler in ("pil-bicubic", "cv2-cubic", "cv2-linear"):
        path = tmp_path / f"{resampler}.xml"
        fastrt.build(small.network, path, resampler=resampler)
        with fastrt.load(path) as session:
            assert session.info.resampler == resampler
            results.append(session([draw_person(0, 0, 300, 150)])[0])
    assert np.abs(results[0] - results[1]).max() > 1e-3
    assert np.abs(results[1] - results[2]).max() > 1e-3


def test_threads_share_a_session(small: Small) -> None:
    with fastrt.load(small.engine, batch=2) as session, ThreadPoolExecutor(4) as pool:
        want = [session([image]) for image in IMAGES]
        for _ in range(5):
            for got, one in zip(pool.map(lambda image: session([image]), IMAGES), want, strict=True):
                _close(got, one)


@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_a_closed_session_says_so(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"engine{suffix}"
    fastrt.build(small.network, path)
    with fastrt.load(path) as session:
        pass
    session.close()
    with pytest.raises(fastrt.EngineError, match="the session is closed; load the engine again"):
        session(IMAGES[:1])


GREY = np.zeros((20, 10), np.uint8)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([], "images: none; expected at least one. Skip empty batches."),
        (np.zeros((0, 64, 32, 3), np.uint8), "images: none; expected at least one. Skip empty batches."),
        (
            [IMAGES[0], GREY],
            "image 1: shape (20, 10); expected (h, w, 3) BGR. Repeat a grey image: image[..., None].repeat(3, 2).",
        ),
        (
            [GREY[..., None]],
            "image 0: shape (20, 10, 1); expected (h, w, 3) BGR. Repeat a grey image: image.repeat(3, 2).",
        ),
        (
            [np.zeros((20, 10, 4), np.uint8)],
            "image 0: shape (20, 10, 4); expected (h, w, 3) BGR. Drop the alpha channel: image[..., :3].",
        ),
        (
            [np.zeros((3, 20, 10), np.uint8)],
            "image 0: shape (3, 20, 10); expected (h, w, 3) BGR. Move the channels last: image.transpose(1, 2, 0).",
        ),
        (
            [np.zeros((0, 10, 3), np.uint8)],
            "image 0: shape (0, 10, 3); expected at least one pixel. Check the box that cropped it.",
        ),
        (
            [np.zeros((20, 10, 3), np.float32)],
            "image 0: float32; expected uint8 pixels from 0 to 255. Do not scale or standardise them.",
        ),
        (["person.jpg"], "image 0: str; expected an (h, w, 3) uint8 BGR array. Read files with read_image."),
        (
            np.zeros((64, 32, 3), np.uint8),
            ("images: shape (64, 32, 3) uint8; expected (n, 64, 32, 3) uint8 BGR. For a single image, give [image]."),
        ),
        (
            np.zeros((2, 32, 64, 3), np.uint8),
            (
                "images: shape (2, 32, 64, 3) uint8; expected (n, 64, 32, 3) uint8 BGR."
                " For images of other sizes, give a list of them."
            ),
        ),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(images: list[Image], sentence: str, small: Small) -> None:
    with fastrt.load(small.engine) as session, pytest.raises(fastrt.ImageError) as caught:
        session(images)
    assert str(caught.value) == sentence


def test_a_batch_of_no_images_cannot_be_asked_for(small: Small) -> None:
    with pytest.raises(fastrt.EngineError, match="batch: 0; expected at least 1, as a whole number"):
        fastrt.load(small.engine, batch=0)

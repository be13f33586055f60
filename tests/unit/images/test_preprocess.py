from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

import fastrt
from fastrt.images import preprocess
from fastrt.images.drawing import draw_person
from fastrt.images.preprocess import find_resampler, read_resized

PERSON = draw_person(3, 0, 120, 50)


def test_an_image_is_read_as_by_opencv(tmp_path: Path) -> None:
    path = tmp_path / "person.png"
    PIL.Image.fromarray(PERSON[..., ::-1]).save(path)
    np.testing.assert_array_equal(fastrt.read_image(path), PERSON)
    np.testing.assert_array_equal(fastrt.read_image(path), cv2.imread(str(path)))


def test_grey_is_repeated_and_alpha_dropped_as_in_fastreid(tmp_path: Path) -> None:
    grey, alpha = tmp_path / "grey.png", tmp_path / "alpha.png"
    PIL.Image.fromarray(PERSON[..., 0]).save(grey)
    PIL.Image.fromarray(np.dstack([PERSON[..., ::-1], np.full(PERSON.shape[:2], 9, np.uint8)])).save(alpha)
    np.testing.assert_array_equal(fastrt.read_image(grey), PERSON[..., :1].repeat(3, 2))
    np.testing.assert_array_equal(fastrt.read_image(alpha), PERSON)


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    PIL.Image.fromarray(np.rot90(PERSON[..., ::-1])).save(path, exif=exif)
    np.testing.assert_array_equal(fastrt.read_image(path), PERSON)


@pytest.mark.parametrize("name", ["pil-bicubic", "pil-bilinear", "cv2-cubic", "cv2-linear"])
def test_resamplers_equal_the_libraries_they_are_named_after(name: str, tmp_path: Path) -> None:
    resized = find_resampler(name)(PERSON, (64, 32))
    PIL.Image.fromarray(PERSON[..., ::-1]).save(tmp_path / "person.png")
    np.testing.assert_array_equal(read_resized(tmp_path / "person.png", (64, 32), name), resized)
    if name.startswith("pil-"):
        method = PIL.Image.Resampling.BICUBIC if name == "pil-bicubic" else PIL.Image.Resampling.BILINEAR
        want = np.asarray(PIL.Image.fromarray(PERSON[..., ::-1]).resize((32, 64), method))[..., ::-1]
    else:
        want = cv2.resize(PERSON, (32, 64), interpolation=cv2.INTER_CUBIC if name == "cv2-cubic" else cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resized, want)


def test_a_file_that_cannot_be_decoded_is_an_error(tmp_path: Path) -> None:
    whole, cut, text = (tmp_path / name for name in ("whole.jpg", "cut.jpg", "text.jpg"))
    PIL.Image.fromarray(PERSON[..., ::-1]).save(whole)
    cut.write_bytes(whole.read_bytes()[:600])
    text.write_text("not an image")
    for path, sentence in (
        (tmp_path / "nowhere.jpg", f"{tmp_path / 'nowhere.jpg'}: does not exist; expected an image."),
        (text, f"{text}: unknown content; expected an image format that Pillow reads."),
        (cut, f"{cut}: cannot be decoded ("),
        (tmp_path, f"{tmp_path}: cannot be read (Is a directory); expected a readable file."),
    ):
        with pytest.raises(fastrt.ImageError) as caught:
            fastrt.read_image(path)
        assert str(caught.value).startswith(sentence)


def test_a_memory_error_is_not_a_damaged_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "person.png"
    PIL.Image.fromarray(PERSON[..., ::-1]).save(path)

    def load(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError):
        fastrt.read_image(path)


def test_an_image_with_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "person.png"
    PIL.Image.fromarray(PERSON[..., ::-1]).save(path)
    monkeypatch.setattr(preprocess, "MOST_PIXELS", 100)
    with pytest.raises(fastrt.ImageError, match="too many pixels; expected at most 100\\."):
        fastrt.read_image(path)


def test_every_truncated_image_is_refused_or_decoded(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    PIL.Image.fromarray(PERSON[:20, :10, ::-1]).save(whole)
    data = whole.read_bytes()
    for length in range(0, len(data) - 20, 7):
        cut.write_bytes(data[:length])
        with pytest.raises(fastrt.ImageError):
            fastrt.read_image(cut)

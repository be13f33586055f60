from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastrt
import fastrt.compat
from conftest import Small
from fastrt.compat import ReID
from fastrt.images.drawing import draw_person
from fastrt.targets.reference import run_reference

FRAMES = [draw_person(i, 0, 90 + 13 * i, 40 + 9 * i) for i in range(10)]


@pytest.fixture(scope="module")
def model(small: Small) -> ReID:
    model = ReID(0)
    assert model.build(str(small.engine)) == 0
    return model


def test_embeddings_equal_a_sessions_as_lists_of_floats(small: Small, model: ReID) -> None:
    with fastrt.load(small.engine) as session:
        want = session(FRAMES)
        alone = session(FRAMES[:1])
    one, many = model.infer(FRAMES[0]), model.batch_infer(FRAMES)
    assert isinstance(one, list)
    assert type(one[0]) is float
    assert [type(row) for row in many] == [list] * 10
    np.testing.assert_array_equal(np.asarray([one], np.float32), alone)
    np.testing.assert_array_equal(np.asarray(many, np.float32), want)


def test_frames_may_be_any_iterable_and_are_not_emptied(model: ReID) -> None:
    frames = FRAMES[:3]
    want = model.batch_infer(frames)
    assert len(frames) == 3
    assert model.batch_infer(iter(frames)) == want
    assert len(model.batch_infer(np.stack([frames[0]] * 2))) == 2  # a stack of frames that are not yet resized


def test_strided_views_equal_their_copies(model: ReID) -> None:
    frame = draw_person(5, 0, 200, 150)
    views = [frame[20:120, 30:90], frame[::-1, ::2], frame[:, :, ::-1]]
    copies = [view.copy() for view in views]
    assert [model.infer(view) for view in views] == [model.infer(copy) for copy in copies]
    assert model.batch_infer(views) == model.batch_infer(copies)
    assert model.infer(views[0]) != model.infer(frame)


def test_an_engine_built_as_the_docstring_says_gives_fastrts_numbers(small: Small, tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "cubic.xml"
    fastrt.build(small.network, path, normalize=False, resampler="cv2-cubic")
    model = ReID(0)
    model.build(path)
    # FastRT: OpenCV's bicubic resizing, then float planes of RGB, and no normalisation at the end.
    pixels = cv2.resize(FRAMES[3], (32, 64), interpolation=cv2.INTER_CUBIC)[..., ::-1]
    want = run_reference(small.network, pixels.transpose(2, 0, 1)[None].astype(np.float32))[0]
    assert np.abs(np.asarray(model.infer(FRAMES[3])) - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("r50.engine", "cuda:2"),
        ("r50.PLAN", "cuda:2"),
        ("r50.trt", "cuda:2"),
        ("r50.rtx", "cuda:2"),
        ("r50.xml", None),
        ("r50.onnx", None),
        ("r50.npz", None),
    ],
)
def test_the_gpu_number_is_used_by_gpu_engines_only(
    name: str, device: str | None, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def load(path: str, device: str | None) -> fastrt.Session:
        asked.append((path, device))
        return fastrt.load(small.engine)

    monkeypatch.setattr(fastrt.compat, "load", load)
    model = ReID(2)
    model.build(name)
    model.close()
    assert asked == [(name, device)]


def test_without_an_engine_infer_is_an_error(small: Small) -> None:
    model = ReID(0)
    sentence = "^ReID: no engine is loaded; expected a loaded engine. Call build with an engine file first.$"
    with pytest.raises(fastrt.EngineError, match=sentence):
        model.infer(FRAMES[0])
    with pytest.raises(fastrt.EngineError, match=sentence):
        model.batch_infer(FRAMES)
    model.build(small.engine)
    model.close()
    model.close()
    with pytest.raises(fastrt.EngineError, match=sentence):
        model.infer(FRAMES[0])


def test_a_file_that_does_not_load_keeps_the_previous_engine(small: Small, tmp_path: Path) -> None:
    model = ReID(0)
    model.build(small.engine)
    want = model.infer(FRAMES[0])
    with pytest.raises(fastrt.EngineError, match="no such file; expected an engine"):
        model.build(tmp_path / "missing.xml")
    with pytest.raises(fastrt.EngineError, match="not the suffix of an engine"):
        model.build(small.checkpoint)
    assert model.infer(FRAMES[0]) == want


def test_another_engine_replaces_the_previous_one(small: Small, tmp_path: Path) -> None:
    fastrt.build(small.network, tmp_path / "raw.xml", normalize=False)
    model = ReID(0)
    model.build(small.engine)
    before = model._session
    assert np.linalg.norm(model.infer(FRAMES[0])) == pytest.approx(1, abs=1e-5)
    model.build(tmp_path / "raw.xml")
    assert np.linalg.norm(model.infer(FRAMES[0])) != pytest.approx(1, abs=1e-2)
    assert before is not None
    with pytest.raises(fastrt.EngineError, match="the session is closed"):
        before(FRAMES[:1])


def test_a_wrong_image_is_named_by_its_index(model: ReID) -> None:
    with pytest.raises(fastrt.ImageError, match="images: none; expected at least one"):
        model.batch_infer([])
    with pytest.raises(fastrt.ImageError, match="image 0: NoneType"):  # cv2.imread returns None for a missing file
        model.infer(None)  # type: ignore[arg-type]
    with pytest.raises(fastrt.ImageError, match="image 1: float32"):
        model.batch_infer([FRAMES[0], FRAMES[1].astype(np.float32)])

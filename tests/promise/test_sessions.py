"""A session takes images and says what to give instead of anything else; its embeddings are finite."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import pickle
import re
import shutil
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import PIL.Image
import pytest

import fastrt
from conftest import Run, Small
from fastrt.engine.build import EngineConfig, write_engine
from fastrt.images.drawing import draw_person
from fastrt.targets.base import Runner
from fastrt.testing.untrained import draw_weights
from fastrt.timing.engines import compare_engines
from fastrt.timing.layers import time_layers

CROPS = [draw_person(i, 0, 64, 32) for i in range(5)]


class Tensor:
    """An array of another library in host memory, as a torch tensor is."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __dlpack__(self, **_: object) -> object:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


OBJECTS = np.empty(2, object)
OBJECTS[:] = CROPS[:2]
PHOTO = PIL.Image.fromarray(CROPS[0])


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (None, "images: NoneType; expected a list of .* cv2.imread returns None"),
        ((crop for crop in CROPS), r"images: generator; .* Give list\(images\)"),
        (iter(CROPS), r"images: list_iterator; .* Give list\(images\)"),
        (deque(CROPS), r"images: deque; .* Give list\(images\)"),
        ({"a": CROPS[0]}, r"images: dict; .* Give list\(images.values\(\)\)"),
        ("file.jpg", "images: str; .* Read files with read_image"),
        (Path("file.jpg"), "images: PosixPath; .* Read files with read_image"),
        (b"file.jpg", r"images: bytes; .* also for one image: \[image\]"),
        (7, r"images: int; .* Give a list of arrays"),
        (PHOTO, r'images: Image; .* np.asarray\(image.convert\("RGB"\)\)'),
        (Tensor(np.stack(CROPS)), r"images: Tensor for openvino, .* images.cpu\(\).numpy\(\)"),
        (CROPS[0], r"images: shape \(64, 32, 3\) uint8; .* give \[image\]"),
        (OBJECTS, r"images: shape \(2,\) object; .* give a list of them"),
        (np.array(7), r"images: shape \(\) int64"),
        (np.zeros((0, 3)), "images: none; expected at least one"),
        ((), "images: none; expected at least one"),
        ([None], "image 0: NoneType; .* cv2.imread returns None"),
        ([CROPS[0], "file.jpg"], "image 1: str; .* Read files with read_image"),
        ([Path("file.jpg")], "image 0: PosixPath; .* Read files with read_image"),
        ([PHOTO], r'image 0: Image; .* np.asarray\(image.convert\("RGB"\)\)'),
        ([Tensor(CROPS[0])], r"image 0: Tensor; .* tensor.cpu\(\).numpy\(\)"),
        ([[[0, 0, 0]]], "image 0: list; expected an .* array"),
        ([np.stack(CROPS)], r"image 0: shape \(5, 64, 32, 3\); .* Give one array per image"),
    ],
)
def test_what_is_no_list_of_images_is_refused(images: Any, sentence: str, small: Small) -> None:
    with fastrt.load(small.engine) as session:
        for take in (session, session.resize) if not isinstance(images, Tensor) else (session,):
            with pytest.raises(fastrt.ImageError, match=f"^{sentence}"):
                take(images)


@pytest.mark.parametrize("batch", [None, "file.jpg", CROPS, PHOTO, CROPS[0]])
def test_a_batch_that_is_no_array_is_refused(batch: Any, small: Small) -> None:
    with fastrt.load(small.engine) as session, pytest.raises(fastrt.ImageError, match="^images: .*; expected"):
        list(session.embed_batches([batch]))


def _embed(session: fastrt.Session) -> np.ndarray[Any, Any]:
    return session(CROPS)


def test_a_pickled_session_loads_its_engine_again(small: Small) -> None:
    with fastrt.load(small.engine, batch=3, mode="throughput") as session:
        for copied in (pickle.loads(pickle.dumps(session)), copy.deepcopy(session), copy.copy(session)):
            assert copied.info == session.info
            assert copied.batch == 3
            np.testing.assert_allclose(copied(CROPS), session(CROPS), atol=1e-5)
            copied.close()
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            np.testing.assert_allclose(pool.apply(_embed, (session,)), session(CROPS), atol=1e-5)


def test_a_session_pickled_in_another_folder_finds_its_engine(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.engine.parent)
    with fastrt.load(small.engine.name) as session:
        content = pickle.dumps(session)
    monkeypatch.chdir(tmp_path)
    pickle.loads(content).close()


def test_a_pickled_session_does_not_load_another_engine(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "e.xml"
    for suffix in (".xml", ".bin"):
        shutil.copy(small.engine.with_suffix(suffix), path.with_suffix(suffix))
    with fastrt.load(path) as session:
        content = pickle.dumps(session)
    spec = fastrt.load_spec(small.config)
    fastrt.build(fastrt.build_network(spec, draw_weights(spec, seed=1)), path)
    with pytest.raises(fastrt.EngineError, match="not the engine of the pickled session"):
        pickle.loads(content)
    path.unlink()
    with pytest.raises(fastrt.EngineError, match="no such file"):
        pickle.loads(content)


def test_a_session_that_cannot_be_loaded_again_is_not_pickled(small: Small) -> None:
    session = fastrt.load(small.engine)
    session.close()
    with pytest.raises(fastrt.EngineError, match="the session is closed"):
        pickle.dumps(session)


class Spoiled(Runner):
    """A runner whose embeddings are not finite for black images."""

    def run(self, batch: Any) -> Any:
        rows = np.ones((len(batch), self.info.embedding_dim), np.float32)
        rows[(batch == 0).all((1, 2, 3)), 7] = np.nan
        return rows

    def run_intermediate(self, batch: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("black", "named"),
    [
        ([1], "image 1: 1 of 20"),
        ([0, 9, 19], "images 0, 9, 19: 3 of 20"),
        (range(20), "images 0, 1, 2, 3, 4, ...: 20 of"),
    ],
)
def test_embeddings_that_are_not_finite_are_refused_and_named(black: Any, named: str, small: Small) -> None:
    session = fastrt.Session(Spoiled(object(), fastrt.describe(small.engine)))
    images = np.ones((20, 64, 32, 3), np.uint8)
    images[black] = 0
    for given in (images, list(images)):
        with pytest.raises(fastrt.EngineError, match=f"^{named}.* embeddings have NaN or infinity"):
            session(given)
    rows = np.concatenate(list(session.embed_batches([images[:8], images[8:16], images[16:]])))
    assert np.flatnonzero(np.isnan(rows).any(1)).tolist() == list(black)  # left to the caller


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_an_engine_of_an_earlier_version_with_such_weights_is_refused(
    suffix: str, small: Small, tmp_path: Path
) -> None:
    arrays = {**small.arrays, "heads.pool_layer.p": np.full(1, 90, np.float32)}
    network = fastrt.build_network(fastrt.load_spec(small.config), arrays)
    write_engine(network, tmp_path / f"e{suffix}", EngineConfig())
    with fastrt.load(tmp_path / f"e{suffix}") as session, pytest.raises(fastrt.EngineError, match="images? 0"):
        session(CROPS)


BAD_COUNTS = [0, -1, 1.5, 2.0, "2", True, np.True_, [2], np.array(2), np.nan, 10**12]


@pytest.mark.parametrize("batch", BAD_COUNTS)
def test_a_batch_that_is_no_number_of_images_is_refused(batch: Any, small: Small) -> None:
    with pytest.raises(fastrt.EngineError, match="^batch: .*; expected at (least 1|most 65536), as a whole number"):
        fastrt.load(small.engine, batch=batch)
    with fastrt.load(small.engine, batch=np.int64(2)) as session:  # type: ignore[arg-type]
        assert session.batch == 2
        with pytest.raises(fastrt.EngineError, match="^count: .*; expected at"):
            session.pinned(batch)
        with pytest.raises(fastrt.EngineError, match="^benchmark: batch .*; expected at (least 1|most 4096)"):
            fastrt.benchmark(session, batch=batch)
    with pytest.raises(fastrt.EngineError, match="^layer times: batch .*; expected at"):
        time_layers(small.engine, batch)
    with pytest.raises(fastrt.EngineError, match="^benchmark: batch .*; expected at"):
        compare_engines([small.engine], [1, batch])


@pytest.mark.parametrize("seconds", [-1, np.nan, np.inf, "2", None, True, 1j])
def test_a_duration_that_is_none_is_refused(seconds: Any, small: Small) -> None:
    expected = "^benchmark: seconds .*; expected a finite number of at least 0"
    with fastrt.load(small.engine) as session, pytest.raises(fastrt.EngineError, match=expected):
        fastrt.benchmark(session, seconds=seconds)
    with pytest.raises(fastrt.EngineError, match="^benchmark: seconds"):
        compare_engines([small.engine], [1], seconds=seconds)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mode": "fast"}, "mode: 'fast'; expected latency or throughput"),
        ({"mode": None}, "mode: None; expected latency or throughput"),
        ({"device": 0}, "device: 0; expected a name such as cpu"),
        ({"path": None}, "path: NoneType; expected the path of an engine"),
        ({"path": 3}, "path: int; expected the path of an engine"),
        ({"path": "."}, r"\.: is a folder; expected an engine"),
        ({"path": ""}, r"\.: is a folder; expected an engine"),
    ],
)
def test_other_arguments_of_load_are_refused_in_one_sentence(
    arguments: dict[str, Any], sentence: str, small: Small
) -> None:
    with pytest.raises(fastrt.EngineError, match=f"^{sentence}"):
        fastrt.load(**{"path": small.engine, **arguments})


def _strip(path: Path) -> None:
    """Remove fastrt's description from an engine, so that it is as of another tool."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
    else:
        path.write_text(re.sub(r"<fastrt(_weights)? [^>]*/>", "", path.read_text()))


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
@pytest.mark.parametrize(
    ("io", "pixels"), [("f32_nchw_rgb", "float32 RGB planes of 0 to 255"), ("u8_nhwc_bgr", "uint8 BGR pixels")]
)
def test_what_is_assumed_of_an_engine_of_another_tool_is_said(
    io: Any, pixels: str, suffix: str, small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    path = tmp_path / f"e{suffix}"
    fastrt.build(small.network, path, io=io)
    with fastrt.load(path), caplog.at_level(logging.WARNING, "fastrt"):
        assert not caplog.messages
    _strip(path)
    with fastrt.load(path) as session:
        (note,) = caplog.messages
        assert note.startswith(f"{path}: states no description of fastrt; assumed: {pixels} as input")
        assert "pil-bicubic" in note
        assert "fastrt build" in note
        session(CROPS)
        assert len(caplog.messages) == 1  # once a load, not once a call
    PIL.Image.fromarray(CROPS[0]).save(tmp_path / "a.png")
    done = run("embed", path, tmp_path / "a.png", "-o", tmp_path / "e.npy")
    assert done.code == 0, done.err
    assert f"note: {path}: states no description of fastrt" in done.err
    assert run("embed", path, tmp_path / "a.png", "-o", tmp_path / "f.npy", "--strict").code == 2
    assert not (tmp_path / "f.npy").exists()


def _with_exponent(small: Small, p: float) -> fastrt.Network:
    arrays = {**small.arrays, "heads.pool_layer.p": np.full(1, p, np.float32)}
    return fastrt.build_network(fastrt.load_spec(small.config), arrays)


@pytest.mark.parametrize("p", [1e-8, -1e-8, 1e-3, 0.099, -0.1, -1, -3, -7, -100, 101, 1e4, 3e38])
def test_an_exponent_that_float32_cannot_compute_is_refused(p: float, small: Small) -> None:
    expected = r"1 unusable, first heads\.pool_layer\.p is .*, expected an exponent of 0\.1 to 100"
    with pytest.raises(fastrt.WeightsError, match=expected):
        _with_exponent(small, p)


@pytest.mark.parametrize("p", [0.1, 0.5, 1, 10])
def test_the_other_exponents_give_the_embeddings_of_the_reference(p: float, small: Small, tmp_path: Path) -> None:
    for suffix in (".xml", ".onnx"):
        fastrt.build(_with_exponent(small, p), tmp_path / f"e{suffix}", check=True)


def test_the_range_of_float32_is_said_for_large_exponents(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    _with_exponent(small, 10)
    assert not caplog.messages
    _with_exponent(small, 30)
    assert "heads.pool_layer.p: 30; trained exponents are 1 to 10. In float32 the powers of features below 0.054" in (
        caplog.text
    )

"""Functions of the API take what their annotations say, or refuse it in one sentence; never a TypeError from below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrt
from conftest import Small
from fastrt.datasets.base import LabelledImage
from fastrt.extraction import Store
from fastrt.images.drawing import draw_person
from fastrt.targets.base import BuildOptions

CROPS = [draw_person(i // 2, i % 2, 64, 32) for i in range(8)]

PATHS: list[Any] = [None, 3, b"m.pth", "m\0.pth", ["m.pth"], np.float32(1)]
FLAGS: list[Any] = ["no", 0, 1, None, np.array([True])]

ODD: dict[str, tuple[Callable[[Small, Any], object], list[Any], str]] = {
    "network": (lambda _, v: fastrt.build(v, "e.npz"), [None, "m.pth", {}], "network: .*; expected a Network"),
    "path": (lambda s, v: fastrt.build(s.network, v), PATHS, "path: .*; expected a string without NUL or a path"),
    "target": (lambda s, v: fastrt.build(s.network, "e.npz", v), [3, b"x"], "target: .*; expected a string"),
    "normalize": (lambda s, v: fastrt.build(s.network, "e.npz", normalize=v), FLAGS, "normalize: .*True or False"),
    "compare": (lambda s, v: fastrt.build(s.network, "e.npz", compare=v), FLAGS, "compare: .*; expected True or False"),
    "check": (lambda s, v: fastrt.build(s.network, "e.npz", check=v), ["no", 0], "check: .*True or False or None"),
    "io": (
        lambda s, v: fastrt.build(s.network, "e.npz", io=v),
        ["x", None, []],
        "io: .*'u8_nhwc_bgr' or 'f32_",
    ),
    "resampler": (
        lambda s, v: fastrt.build(s.network, "e.npz", resampler=v),
        ["x", 1],
        "resampler: .*'pil-bicubic",
    ),
    "options": (lambda s, v: fastrt.build(s.network, "e.npz", options=v), [{}, 8], "options: .*a BuildOptions or None"),
    "kept": (lambda s, v: fastrt.build(s.network, "e.npz", kept=v), [[1], None, "backbone"], "kept: .*a list, each"),
    "checker": (
        lambda s, v: fastrt.build(s.network, "e.npz", checker=v),
        [3],
        "checker: 3; expected a function or",
    ),
    "table": (lambda s, v: fastrt.build(s.network, "e.npz", table=v), ["t.json", {}], "table: .*a CalibrationTable"),
    "images": (lambda s, v: fastrt.build(s.network, "e.npz", images=v), ["dir", 3], "images: .*; expected a list"),
    "min_similarity": (
        lambda s, v: fastrt.build(s.network, "e.npz", min_similarity=v),
        [np.nan, np.inf, "0.9", True, 2, -2],
        "min_similarity: .*; expected a (finite )?number",
    ),
    "spec": (lambda s, v: fastrt.build_network(v, s.arrays), [None, "r50", {}], "spec: .*; expected a ModelSpec"),
    "weights": (lambda _, v: fastrt.build_network(fastrt.load_spec(), v), [None, []], "weights: .*arrays by name"),
    "calibrated images": (lambda s, v: fastrt.calibrate(s.network, v), [None, "dir", 3], "images: .*; expected a list"),
    "calibrated network": (lambda _, v: fastrt.calibrate(v, CROPS), [None, "m.pth"], "network: .*a Network"),
    "session": (lambda s, v: fastrt.verify(v, s.network), [None, "e.xml"], "session: .*; expected a Session"),
    "benchmark": (lambda _, v: fastrt.benchmark(v), [None, "e.xml"], "session: .*; expected a Session"),
    "evaluate": (lambda _, v: fastrt.evaluate(v, None), ["e.xml"], "session: .*a Session"),  # type: ignore[arg-type]
    "load_weights": (lambda _, v: fastrt.load_weights(v), PATHS, "path: .*; expected a string without NUL or a path"),
    "key": (lambda s, v: fastrt.load_weights(s.checkpoint, v), [3, b"net"], "key: .*; expected a string"),
    "load_model": (lambda _, v: fastrt.load_model(v), PATHS, "checkpoint: .*; expected a string without NUL or a path"),
    "config": (lambda s, v: fastrt.load_model(s.checkpoint, v), [3, b"c.yml", "c\0"], "config: .*; expected a string"),
    "guess": (lambda s, v: fastrt.load_model(s.checkpoint, guess=v), FLAGS, "guess: .*; expected True or False"),
    "load_spec": (lambda _, v: fastrt.load_spec(v), [3, b"c.yml", "c\0"], "source: .*; expected a string"),
    "overrides": (lambda _, v: fastrt.load_spec(None, v), [3, "a b", {"a": 1}], "overrides: .*; expected a list"),
    "read_table": (lambda _, v: fastrt.read_table(v), PATHS, "path: .*; expected a string without NUL or a path"),
    "guess_spec": (lambda _, v: fastrt.guess_spec(v), [None, "m.pth"], "arrays: .*; expected a mapping"),
    "save_weights": (lambda s, v: fastrt.save_weights(s.arrays, v), PATHS, "path: .*; expected a string without NUL"),
    "mirrored": (
        lambda s, v: fastrt.load(s.engine).embed_files([s.engine], mirrored=v),
        FLAGS,
        "mirrored: .*; expected True or False",
    ),
    "advance": (
        lambda s, v: fastrt.load(s.engine).embed_files([s.engine], v),
        [None, 3],
        "advance: .*; expected a function",
    ),
    "own_files": (
        lambda s, v: fastrt.match(fastrt.load(s.engine), [], [], own_files=v),
        FLAGS,
        "own_files: .*; expected True or False",
    ),
    "matched session": (lambda _, v: fastrt.match(v, [], []), [None, "e.xml"], "session: .*; expected a Session"),
    "restart": (lambda s, v: Store("e.npy", fastrt.describe(s.engine), [], restart=v), FLAGS, "restart: .*True or"),
    "distractors": (lambda _, v: fastrt.datasets.Market1501(".", distractors=v), FLAGS, "distractors: .*True or False"),
    "labeled": (lambda _, v: fastrt.datasets.CUHK03NP(".", labeled=v), FLAGS, "labeled: .*; expected True or False"),
    "version_compatible": (lambda _, v: BuildOptions(version_compatible=v), FLAGS, "version_compatible: .*True or"),
    "device": (lambda s, v: fastrt.load(s.engine, v), ["", 3, b"cpu"], "device: .*; expected a name such as cpu"),
    "images of a data set": (
        lambda s, v: fastrt.evaluate(fastrt.load(s.engine), fastrt.datasets.DataSet("x", v, v)),
        [None, (None,), (LabelledImage(None, 1, 0),), (LabelledImage("\0", 1, 0),)],  # type: ignore[arg-type]
        "data set: .*; expected",
    ),
    "masked image": (
        lambda s, v: fastrt.load(s.engine)(v),
        [[np.ma.masked_array(CROPS[0], mask=True)], np.ma.masked_array(np.stack(CROPS))],
        "MaskedArray; expected .*Fill what is masked",
    ),
    "masked weights": (
        lambda s, v: fastrt.build_network(fastrt.load_spec(s.config), {**s.arrays, **v}),
        [{"backbone.conv1.weight": np.ma.masked_array(np.ones(3))}],
        "is MaskedArray; expected an array of numbers, without a mask",
    ),
    "saved spec": (
        lambda s, v: fastrt.save_weights(s.arrays, "x.safetensors", spec=v),
        [{"bad": 1}, "x", 3, {}, {"depth": "18y"}],
        "bad: unknown key|spec: ",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_argument_is_refused_in_one_sentence(
    name: str, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, values, message = ODD[name]
    monkeypatch.chdir(tmp_path)
    for value in values:
        with pytest.raises(fastrt.FastrtError, match=message):
            call(small, value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_batches_are_refused_alike_on_all_targets(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"e{suffix}"
    fastrt.build(small.network, path)
    odd: list[Any] = [[np.zeros((0, 64, 32, 3), np.uint8)], [None], [CROPS], None, 3, "ab", [np.zeros((1, 9, 9, 3))]]
    with fastrt.load(path) as session:
        for batches in odd:
            with pytest.raises(fastrt.ImageError, match="^(images|batches): .*; expected"):
                list(session.embed_batches(batches))
        for batch in (CROPS, None, np.zeros((0, 64, 32, 3), np.uint8), np.zeros((1, 64, 32, 3))):
            with pytest.raises(fastrt.ImageError, match="^images: .*; expected"):
                session.prepare(batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_one_buffer_serves_for_all_batches(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"e{suffix}"
    fastrt.build(small.network, path)
    with fastrt.load(path) as session:
        buffer = session.pinned(1)

        def refill() -> Any:
            for crop in CROPS:
                buffer[0] = crop
                yield buffer

        rows = np.concatenate(list(session.embed_batches(refill())))
        np.testing.assert_allclose(rows, session(CROPS), atol=1e-4)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastrt
from conftest import Small
from fastrt.engine.checks import Check
from fastrt.engine.load import list_layers
from fastrt.models.backbones.resnet import ResNet
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Precision
from fastrt.targets.registry import find_target

SUFFIXES = [".xml", ".onnx", ".npz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_engine_file_says_what_it_is(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"engine{suffix}"
    info = fastrt.build(small.network, path, normalize=False, io="f32_nchw_rgb", resampler="cv2-linear").info
    assert fastrt.describe(path) == info
    assert info.fastrt == fastrt.__version__
    assert info.fingerprint == small.network.fingerprint()
    assert info.image_size == (64, 32)
    assert info.embedding_dim == 512
    assert info.normalized is False
    assert info.spec is not None
    backbone = fastrt.ModelSpec(**info.spec).backbone
    assert isinstance(backbone, ResNet)
    assert backbone.with_ibn


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_engines_layers_bear_the_checkpoints_names(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"engine{suffix}"
    fastrt.build(small.network, path)
    layers = {layer.name: layer for layer in list_layers(path)}
    assert layers["backbone.layer4.1.relu"].shape == (512, 4, 2)
    assert layers["embedding"].shape == (512,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_building_twice_leaves_one_engine_and_nothing_beside(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"engine{suffix}"
    for _ in range(2):
        fastrt.build(small.network, path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == ({"engine.xml", "engine.bin"} if suffix == ".xml" else {path.name})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cut_engine_is_refused(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"engine{suffix}"
    fastrt.build(small.network, path)
    parts = [path, path.with_suffix(".bin")] if suffix == ".xml" else [path]
    for part in parts:
        data = part.read_bytes()
        for length in (0, 1, 5, 100, len(data) // 2, len(data) - 100, len(data) - 2):
            part.write_bytes(data[:length])
            with pytest.raises(fastrt.EngineError, match=r"[bB]uild it again"):
                fastrt.load(path)
        part.write_bytes(data)
    fastrt.load(path).close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "engine.pth",
            "engine.pth: not the suffix of an engine; expected .xml (openvino), .onnx (onnx), .npz (reference)",
        ),
        ("nowhere.xml", "nowhere.xml: no such file; expected an engine"),
        ("folder.xml", "folder.xml: is a folder; expected an engine. Name the engine file in it."),
        ("alone.xml", "alone.xml: no alone.bin in its folder; expected both files of an OpenVINO engine"),
    ],
)
def test_what_is_no_engine_is_refused(name: str, sentence: str, small: Small, tmp_path: Path) -> None:
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "engine.pth").touch()
    (tmp_path / "alone.xml").write_bytes(small.engine.read_bytes())
    with pytest.raises(fastrt.EngineError) as caught:
        fastrt.load(tmp_path / name)
    assert sentence in str(caught.value)


def test_an_engine_of_somebody_elses_making_loads_from_its_tensors(small: Small, tmp_path: Path) -> None:
    import openvino as ov

    model = ov.Core().read_model(small.engine)
    model.set_rt_info("", ["fastrt"])
    bare = tmp_path / "bare.xml"
    ov.save_model(model, bare, compress_to_fp16=False)
    text = bare.read_text()
    start, stop = text.index("<fastrt"), text.index("/>", text.index("<fastrt")) + 2
    bare.write_text(text[:start] + text[stop:])
    with fastrt.load(bare) as session, fastrt.load(small.engine) as original:
        assert session.info.fingerprint is None
        assert session.info.normalized is None
        assert session.info.image_size == (64, 32)
        image = [np.zeros((50, 20, 3), np.uint8)]
        np.testing.assert_array_equal(session(image), original(image))
        assert fastrt.verify(session, small.network)


@pytest.mark.parametrize(
    ("path", "target", "sentence"),
    [
        (
            "engine.foo",
            None,
            "engine.foo: it has the suffix .foo; expected .xml or .onnx or .npz or .engine or .plan or .trt or .rtx",
        ),
        ("engine", "onnx", "engine: it has no suffix; expected .onnx"),
        ("engine.xml", "onnx", "engine.xml: it has the suffix .xml; expected .onnx"),
        (
            "engine.xml",
            "tensorflow",
            "target: unknown tensorflow; expected one of openvino, onnx, reference, tensorrt, tensorrt-rtx",
        ),
    ],
)
def test_a_wrong_target_is_refused(path: str, target: str | None, sentence: str, small: Small) -> None:
    with pytest.raises(fastrt.TargetError) as caught:
        fastrt.build(small.network, path, target)
    assert str(caught.value) == sentence


def test_a_device_that_is_not_there_is_refused(small: Small, tmp_path: Path) -> None:
    fastrt.build(small.network, tmp_path / "engine.onnx")
    with pytest.raises(fastrt.TargetError, match="^onnx: device cuda:0; expected cpu"):
        fastrt.load(tmp_path / "engine.onnx", "cuda:0")
    with pytest.raises(fastrt.TargetError, match="^openvino: no device npu:7 on this host; expected one of .*cpu"):
        fastrt.load(small.engine, "npu:7")


def test_a_folder_that_is_not_there_is_refused(small: Small, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        with pytest.raises(fastrt.OutputError, match=r"folder .*nowhere does not exist"):
            fastrt.build(small.network, tmp_path / "nowhere" / f"engine{suffix}")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_lower_precisions_work_or_are_refused(precision: Precision, small: Small, tmp_path: Path) -> None:
    path = tmp_path / "engine.xml"
    if precision not in find_target("openvino").precisions():
        with pytest.raises(fastrt.TargetError, match=f"openvino: it cannot compute in {precision}"):
            fastrt.build(small.network, path, precision=precision)
        return
    fastrt.build(small.network, path, precision=precision)
    with fastrt.load(path) as session:
        assert session.info.precision == precision
        report = fastrt.verify(session, small.network)
    values = next(check for check in report.checks if check.name == "values")
    assert values.passed, str(report)


def test_onnx_and_reference_have_no_half(small: Small, tmp_path: Path) -> None:
    for suffix in (".onnx", ".npz"):
        with pytest.raises(
            fastrt.TargetError, match="it cannot compute in fp16 on this host; expected one of fp32, int8"
        ):
            fastrt.build(small.network, tmp_path / f"engine{suffix}", precision="fp16")


def test_an_engine_that_fails_its_checks_is_not_written(small: Small, tmp_path: Path) -> None:
    def refuse(_: fastrt.Session) -> fastrt.Report:
        return fastrt.Report((Check("values", False, "too far off"),))

    path = tmp_path / "engine.xml"
    with pytest.raises(
        fastrt.EngineError,
        match=r"engine.xml: the new engine failed its checks; no file is written.\nvalues  FAIL  too far off",
    ):
        fastrt.build(small.network, path, checker=refuse)
    assert not list(tmp_path.iterdir())
    assert fastrt.build(small.network, path, check=False, checker=refuse).checks is None
    path.unlink()
    report = fastrt.build(small.network, path, check=True)
    assert path.is_file()
    assert report.checks
    assert [check.name for check in report.checks.checks] == ["fingerprint", "values", "places"]
    assert str(report).endswith("\n64x32 to 512, openvino fp32")
    assert "verified" not in str(report)


def test_options_that_a_target_lacks_are_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(fastrt.TargetError, match="openvino: version_compatible is set; expected no such option"):
        fastrt.build(small.network, tmp_path / "engine.xml", options=BuildOptions(version_compatible=True))
    with pytest.raises(fastrt.TargetError, match="openvino: batches is set"):
        fastrt.build(small.network, tmp_path / "engine.xml", options=BuildOptions(batches=(1, 8)))

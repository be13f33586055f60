"""TensorRT-RTX builds without a GPU: lowers every network, and reads plans' descriptions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastrt
from fastrt.cli import main
from fastrt.ir.network import INPUT, Network, make_tensor
from fastrt.ir.ops import Convolution, Input, Relu, Reshape
from fastrt.passes import prepare
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.registry import find_target
from fastrt.testing.untrained import draw_weights
from golden.cases import NAMES, load_golden
from targets.test_parity import NETWORKS

if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
    pytest.skip("TensorRT-RTX is not installed", allow_module_level=True)


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "fp16") for name in NAMES), ("kd-r18-r101_ibn", "fp32"), ("sbs_R50-ibn", "fp32")],
)
def test_every_golden_case_is_built(name: str, precision: Precision, tmp_path: Path) -> None:
    """`test_numbers` checks values."""
    network = load_golden(name).network
    path = tmp_path / "golden.rtx"
    built = fastrt.build(network, path, precision=precision, options=BuildOptions(batches=(1, 8))).info
    assert fastrt.describe(path) == built
    assert built.batches == (1, 8)
    weights = sum(array.nbytes for tensor in network for array in tensor.operation.arrays().values())
    assert path.stat().st_size > weights * (0.9 if precision == "fp32" else 0.45)


def _lower(network: Network, precision: Precision, folder: Path) -> bytes:
    target = find_target("tensorrt-rtx")
    info = EngineInfo(target=target.name, precision=precision, io="f32_nchw_rgb", image_size=(13, 10), embedding_dim=1)
    target.build(prepare(network, info, strongly_typed=True), folder / "op.rtx", info, BuildOptions(batches=(4,)))
    return (folder / "op.rtx").read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_is_lowered(name: str, precision: Precision, tmp_path: Path) -> None:
    assert _lower(NETWORKS[name], precision, tmp_path).startswith(b"vtrt")


def test_a_refused_layer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_tensor(INPUT, Input((3, 8, 8)), [])
    relu = make_tensor("relu", Relu(), [image])
    network = Network((image, relu, make_tensor("embedding", Reshape((192,)), [relu])))
    monkeypatch.setattr(Relu, "kind", "spline")
    with pytest.raises(fastrt.TargetError, match="tensorrt: it cannot lower spline, which computes relu"):
        _lower(network, "fp32", tmp_path)
    monkeypatch.undo()
    wrong = Convolution(np.zeros((4, 5, 3, 3), np.float32))
    monkeypatch.setattr(Convolution, "infer", lambda *_: (4, 6, 6))
    convolution = make_tensor("conv", wrong, [image])
    network = Network((image, convolution, make_tensor("embedding", Reshape((144,)), [convolution])))
    with pytest.raises(fastrt.EngineError, match="conv"):
        _lower(network, "fp32", tmp_path)


def test_progress_is_reported(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    options = BuildOptions(batches=(1,), progress=lambda *step: told.append(step))
    fastrt.build(load_golden("kd-r18-r101_ibn").network, tmp_path / "a.rtx", options=options)
    assert told
    assert all(0 <= done <= steps for _, done, steps in told)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--batch", "8,1"], "batches: (8, 1); expected numbers of images from 1, each larger than the one before"),
        (["--batch", "0,1"], "batches: (0, 1); expected numbers of images from 1"),
        (
            ["--batch", "many"],
            "--batch many: not a list of numbers; expected numbers with commas. Write --batch 1,8,32.",
        ),
        (["--capability", "sm1"], "unknown compute capability sm1"),
        (["--check"], "no CUDA device or no driver on this host"),
        (["--version-compatible"], "no lean runtime for a version-compatible plan; expected one"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = fastrt.load_spec("kd-r18-r101_ibn", ["INPUT.SIZE_TEST", [32, 32]])
    fastrt.save_weights(draw_weights(spec), tmp_path / "m.pth")
    arguments = ["build", str(tmp_path / "m.pth"), "--config", "kd-r18-r101_ibn", "-o", str(tmp_path / "m.rtx")]
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--set", "INPUT.SIZE_TEST", "[32, 32]", *options])
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("*.rtx"))


def test_a_plan_without_a_gpu_is_refused(tmp_path: Path) -> None:
    fastrt.build(load_golden("kd-r18-r101_ibn").network, tmp_path / "a.rtx", options=BuildOptions(batches=(1,)))
    with pytest.raises(fastrt.TargetError, match="no CUDA device or no driver on this host"):
        fastrt.load(tmp_path / "a.rtx")
    with pytest.raises(fastrt.TargetError, match="tensorrt: device .*; expected cuda:0"):
        fastrt.load(tmp_path / "a.rtx", "cpu")


def test_there_is_no_timing_cache(tmp_path: Path) -> None:
    options = BuildOptions(batches=(1,), timing_cache=tmp_path / "timing.cache")
    with pytest.raises(fastrt.TargetError, match="tensorrt-rtx: timing_cache is set; expected none"):
        fastrt.build(load_golden("kd-r18-r101_ibn").network, tmp_path / "a.rtx", options=options)
    assert not list(tmp_path.iterdir())

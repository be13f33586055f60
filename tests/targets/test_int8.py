"""int8 engines on the host's CPU, and in `make test` on an emulated CPU without VNNI, whose 16-bit sums saturate.

What runs in integers is read from the runtimes' own graphs.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

import fastrt
from fastrt.images.drawing import draw_person
from fastrt.ir.network import INPUT, OUTPUT, Network, make_tensor
from fastrt.ir.ops import Convolution, Input, QuantizeDequantize, Reshape
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_layers, quantize_weights
from fastrt.passes.slices import split_before_slices
from fastrt.similarity import centred_cosines, normalize_rows
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.openvino.target import OpenVinoTarget
from fastrt.targets.reference import run_reference
from fastrt.targets.registry import SUFFIXES, find_target
from fastrt.testing.untrained import draw_weights
from presets import EXAMPLES

IMAGES = [draw_person(i, 0, 64, 32) for i in range(4)]


@cache
def _network(preset: str) -> fastrt.Network:
    spec = fastrt.load_spec(preset, ["INPUT.SIZE_TEST", [64, 32]])
    return fastrt.build_network(spec, draw_weights(spec))


@cache
def _table(preset: str) -> fastrt.CalibrationTable:
    return fastrt.calibrate(_network(preset), IMAGES, "minmax")


@pytest.mark.parametrize("preset", EXAMPLES)
def test_every_convolution_of_the_backbone_runs_in_int8_on_openvino(preset: str, tmp_path: Path) -> None:
    network = _network(preset)
    table = _table(preset)
    path = tmp_path / "engine.xml"
    fastrt.build(network, path, precision="int8", table=table)
    graph = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).get_runtime_model()
    kinds: Counter[bool] = Counter()
    for node in graph.get_ordered_ops():
        info: Any = node.get_rt_info()
        if info["layerType"].astype(str) == "Convolution":
            kinds[info["primitiveType"].astype(str).upper().endswith("_I8")] += (
                1  # _i8 with AMX, which multiplies signed int8
            )
    built = split_before_slices(fold_scales(network))
    chosen = list_layers(built)
    others = sum(tensor.operation.kind == "convolution" for tensor in built) - len(chosen)
    assert kinds[True] == len(chosen)
    assert kinds[False] <= others  # convolutions of non-local blocks


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize("preset", ["kd-r18-r101_ibn", "sbs_R50-ibn"])
def test_tensorrt_builds_int8(preset: str, tmp_path: Path) -> None:
    network = _network(preset)
    table = _table(preset)
    sizes = {}
    for precision, given in (("fp16", None), ("int8", table)):
        path = tmp_path / f"{precision}.rtx"
        options = BuildOptions(batches=(1, 8))
        report = fastrt.build(network, path, precision=precision, table=given, options=options)  # type: ignore[arg-type]
        assert fastrt.describe(path) == report.info
        sizes[precision] = path.stat().st_size
    assert sizes["int8"] < 0.9 * sizes["fp16"]  # not half of the size: TensorRT-RTX stores some weights in FP16


def test_onnxruntime_convolves_integers(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = _network("kd-r18-r101_ibn")
    path = tmp_path / "engine.onnx"
    fastrt.build(network, path, precision="int8", table=_table("kd-r18-r101_ibn"))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    import onnx

    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    chosen = list_layers(fold_scales(network))
    # Convolutions before an instance norm return floating point; onnxruntime has no such integer convolution.
    assert kinds["QLinearConv"] >= len(chosen) - sum(name.endswith(".folded") for name in chosen) - 1, kinds


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
@pytest.mark.parametrize(("preset", "least"), [("kd-r18-r101_ibn", 0.99), ("sbs_r34_distill", 0.96)])
def test_an_engine_matches_its_int8_reference(preset: str, least: float, suffix: str, tmp_path: Path) -> None:
    network = _network(preset)
    table = _table(preset)
    path = tmp_path / f"engine{suffix}"
    fastrt.build(network, path, precision="int8", table=table)
    with fastrt.load(path) as session:
        got = session(IMAGES)
    placement = find_target(SUFFIXES[suffix]).placement
    pixels = session.resize(IMAGES)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    want = normalize_rows(run_reference(table.quantize(fold_scales(network), placement), pixels))
    # The grids are equal. Float32 rounding moves some values by one quantization step.
    assert centred_cosines(got, want).min() >= least


def test_the_reference_target_computes_the_grid_of_openvino(tmp_path: Path) -> None:
    network = _network("kd-r18-r101_ibn")
    table = _table("kd-r18-r101_ibn")
    rows = {}
    for suffix in (".xml", ".npz"):
        path = tmp_path / f"engine{suffix}"
        fastrt.build(network, path, precision="int8", table=table)
        with fastrt.load(path) as session:
            rows[suffix] = session(IMAGES)
    assert centred_cosines(rows[".xml"], rows[".npz"]).min() > 0.98


@pytest.mark.parametrize("target", ["openvino", "onnx"])
@pytest.mark.parametrize(
    ("inputs", "kernel", "groups"),
    [(3, 7, 1), (8, 3, 1), (64, 1, 1), (64, 3, 1), (16, 3, 4), (48, 3, 16), (8, 3, 8), (16, 3, 16), (16, 5, 16)],
)
def test_the_largest_sums_do_not_saturate(target: str, inputs: int, kernel: int, groups: int, tmp_path: Path) -> None:
    """The largest input and the largest weights: any 16-bit sum would overflow."""
    chosen = find_target(target)
    weight = np.ones((16, inputs // groups, kernel, kernel), np.float32)
    weight[8:] *= -1
    image = make_tensor(INPUT, Input((3, 16, 16)), [])
    wide = make_tensor("wide", Convolution(np.ones((inputs, 3, 1, 1), np.float32)), [image])
    grid = QuantizeDequantize(3.0, 0, "uint8")
    pair = make_tensor("pair", grid, [wide if inputs > 3 else image])
    convolution = Convolution(weight, None, 1, kernel // 2, groups=groups)
    quantized = quantize_weights(convolution, None, grid.scale, chosen.placement)
    plain = make_tensor("convolution", quantized, [pair])
    # onnxruntime multiplies integers only if the result is also quantized.
    step = 765.0 * (inputs // groups) * kernel**2 / 127
    out = make_tensor("out", QuantizeDequantize(step, 128, "uint8"), [plain])
    flat = make_tensor(OUTPUT, Reshape((16 * 16 * 16,)), [out])
    network = Network((image, *((wide,) if inputs > 3 else ()), pair, plain, out, flat))
    path = tmp_path / f"engine{chosen.suffix}"
    info = EngineInfo(target=target, precision="int8", io="f32_nchw_rgb", image_size=(16, 16), embedding_dim=4096)
    chosen.build(network, path, info, BuildOptions())
    batch = np.full((1, 3, 16, 16), 765.0 if inputs == 3 else 255.0, np.float32)
    runner = chosen.load(path, "cpu")
    got, want = runner.run(batch), run_reference(network, batch)
    runner.close()
    assert np.abs(got).max() > 0
    assert np.abs(got - want).max() <= 1.01 * step


def test_a_runtime_with_other_results_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network("kd-r18-r101_ibn")
    table = _table("kd-r18-r101_ibn")
    build = OpenVinoTarget.build

    def build_saturated(self: Any, network: Network, *others: Any) -> None:
        """Compute like a CPU whose sums saturate in the stem."""
        stem = network["backbone.bn1"]
        assert isinstance(stem.operation, Convolution)
        weight = np.clip(stem.operation.weight, -20, 20)
        clipped = replace(stem, operation=replace(stem.operation, weight=weight))
        tensors = tuple(clipped if tensor is stem else tensor for tensor in network)
        build(self, replace(network, tensors=tensors), *others)

    path = tmp_path / "engine.xml"
    fastrt.build(network, path, precision="int8", table=table, check=False)
    with fastrt.load(path) as session:
        report = fastrt.verify(session, network, IMAGES, table)
    assert report.checks[-1].name == "int8"
    assert report.checks[-1].passed, str(report)
    monkeypatch.setattr(OpenVinoTarget, "build", build_saturated)
    with pytest.raises(fastrt.EngineError, match=r"FAIL  mean-centred cosine -?0\.\d+ to the int8 reference"):
        fastrt.build(network, tmp_path / "other.xml", precision="int8", table=table)
    assert not (tmp_path / "other.xml").exists()
    fastrt.build(network, path, precision="int8", table=table, check=False)
    with fastrt.load(path) as session:
        assert not fastrt.verify(session, network, IMAGES, table).checks[-1].passed


def test_a_table_is_for_int8_engines(tmp_path: Path) -> None:
    network = _network("kd-r18-r101_ibn")
    table = _table("kd-r18-r101_ibn")
    fastrt.build(network, tmp_path / "engine.xml")
    with (
        fastrt.load(tmp_path / "engine.xml") as session,
        pytest.raises(fastrt.CalibrationError, match="engine: precision fp32 and a calibration table"),
    ):
        fastrt.verify(session, network, table=table)


def test_a_table_that_the_engine_was_not_built_with_is_refused(tmp_path: Path) -> None:
    network = _network("kd-r18-r101_ibn")
    table = _table("kd-r18-r101_ibn")
    fastrt.build(network, tmp_path / "engine.xml", precision="int8", table=table)
    other = fastrt.calibrate(network, IMAGES[:3], "minmax")
    with (
        fastrt.load(tmp_path / "engine.xml") as session,
        pytest.raises(fastrt.CalibrationError, match="expected the engine.s, minmax, 4 images"),
    ):
        fastrt.verify(session, network, table=other)


def test_bf16_is_not_available_if_the_instruction_set_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "bf16" not in OpenVinoTarget().precisions()

"""Eight bits as the runtimes see them: what runs in integers is read from their own graphs."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

import fastrt
from fastrt.drawing import draw_person
from fastrt.passes.fold import fold_scales
from fastrt.passes.instance_norm import split_before_slices
from fastrt.passes.quantize import list_convolutions
from fastrt.targets.base import BuildOptions
from fastrt.untrained import draw_weights

IMAGES = [draw_person(i, 0, 64, 32) for i in range(4)]


def _network(preset: str) -> fastrt.Network:
    spec = fastrt.load_spec(preset, ["INPUT.SIZE_TEST", [64, 32]])
    return fastrt.build_network(spec, draw_weights(spec))


@pytest.mark.parametrize("preset", fastrt.preset_names())
def test_every_convolution_of_the_backbone_runs_in_int8_on_openvino(preset: str, tmp_path: Path) -> None:
    network = _network(preset)
    table = fastrt.calibrate(network, IMAGES, "minmax")
    path = tmp_path / "engine.xml"
    fastrt.build(network, path, precision="int8", table=table)
    graph = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).get_runtime_model()
    kinds: Counter[bool] = Counter()
    for node in graph.get_ordered_ops():
        info: Any = node.get_rt_info()
        if info["layerType"].astype(str) == "Convolution":
            kinds[info["primitiveType"].astype(str).endswith("_I8")] += 1
    built = split_before_slices(fold_scales(network))
    chosen = list_convolutions(built)
    others = sum(tensor.operation.kind == "convolution" for tensor in built) - len(chosen)
    assert kinds[True] == len(chosen)
    assert kinds[False] <= others  # those of non-local blocks


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize("preset", ["kd-r18-r101_ibn", "sbs_R50-ibn"])
def test_tensorrt_builds_int8(preset: str, tmp_path: Path) -> None:
    network = _network(preset)
    table = fastrt.calibrate(network, IMAGES, "minmax")
    sizes = {}
    for precision, given in (("fp16", None), ("int8", table)):
        path = tmp_path / f"{precision}.rtx"
        options = BuildOptions(batches=(1, 8))
        info = fastrt.build(network, path, precision=precision, table=given, options=options)  # type: ignore[arg-type]
        assert fastrt.describe(path) == info
        sizes[precision] = path.stat().st_size
    assert sizes["int8"] < 0.9 * sizes["fp16"]  # not half of it: TensorRT-RTX keeps some weights in half


def test_onnxruntime_convolves_integers(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = _network("kd-r18-r101_ibn")
    path = tmp_path / "engine.onnx"
    fastrt.build(network, path, precision="int8", table=fastrt.calibrate(network, IMAGES, "minmax"))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    import onnx

    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    chosen = list_convolutions(fold_scales(network))
    # Those that an instance norm takes give floating point, and onnxruntime has no such convolution of integers.
    assert kinds["QLinearConv"] >= len(chosen) - sum(name.endswith(".folded") for name in chosen) - 1, kinds


def test_a_small_quantized_network_is_the_same_everywhere(tmp_path: Path) -> None:
    network = _network("kd-r18-r101_ibn")
    table = fastrt.calibrate(network, IMAGES, "minmax")
    rows = {}
    for suffix in (".xml", ".npz"):
        path = tmp_path / f"engine{suffix}"
        fastrt.build(network, path, precision="int8", table=table)
        with fastrt.load(path) as session:
            rows[suffix] = session(IMAGES)
    # The same grids: what differs is what falls to another step by rounding of float32.
    assert np.abs(rows[".xml"] - rows[".npz"]).max() < 0.02

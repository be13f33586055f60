"""Every operation has the same result on every target as in the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.ir import ops
from fastrt.ir.network import INPUT, OUTPUT, Network, Tensor, make_tensor
from fastrt.ir.ops import OPERATIONS, Operation
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference import run_reference
from fastrt.targets.registry import find_target

RNG = np.random.default_rng(7)
PIXELS = (3, 13, 10)


def _floats(*shape: int) -> Array:
    return RNG.normal(0, 1, shape).astype(np.float32)


Case = tuple[Operation, Callable[[Tensor], list[Operation]]]

UNARY: dict[str, Operation] = {
    "transpose": ops.Transpose((2, 0, 1)),
    "reshape": ops.Reshape((39, 10, 1)),
    "slice": ops.Slice(0, 1, 3),
    "slice of rows": ops.Slice(1, 2, 9),
    "scale_shift": ops.ScaleShift(RNG.normal(1, 1, 3), RNG.normal(0, 1, 3)),
    "scale_shift without a scale": ops.ScaleShift(np.ones(3), RNG.normal(0, 1, 3)),
    "scale_shift without a shift": ops.ScaleShift(RNG.normal(1, 1, 3), np.zeros(3)),
    "scale_shift of neither": ops.ScaleShift(np.ones(3), np.zeros(3)),
    "scale_shift of all channels alike": ops.ScaleShift(np.full(3, 0.7), np.full(3, -0.2)),
    "scale_shift of all pixels alike": ops.ScaleShift(np.full(PIXELS, 0.7), np.full(PIXELS, -0.2)),
    "convolution": ops.Convolution(_floats(5, 3, 3, 3), _floats(5), 2, 1),
    "convolution without bias": ops.Convolution(_floats(4, 3, 1, 1), None, 1, 0),
    "convolution 7x7": ops.Convolution(_floats(4, 3, 7, 7), None, 2, 3),
    "quantize_dequantize": ops.QuantizeDequantize(0.013, 0, "int8"),
    "quantize_dequantize bytes": ops.QuantizeDequantize(0.013, 128, "uint8"),
    "quantize_dequantize positive": ops.QuantizeDequantize(0.011, 0, "uint8"),
    "convolution of int8": ops.Convolution(
        RNG.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8), _floats(5), 1, 1, scale=np.abs(_floats(5)) + 0.01
    ),
    "convolution of groups": ops.Convolution(_floats(6, 1, 3, 3), _floats(6), 2, 1, groups=3),
    "convolution dilated": ops.Convolution(_floats(5, 3, 3, 3), _floats(5), 1, 2, dilation=2),
    "convolution dilated depthwise": ops.Convolution(_floats(3, 1, 3, 3), None, 2, 3, groups=3, dilation=3),
    "max_pool": ops.MaxPool(3, 2, 0, ceil=True),
    "max_pool padded": ops.MaxPool(3, 2, 1),
    "max_pool 2x2": ops.MaxPool(2, 2, 0, ceil=True),
    "average_pool": ops.AveragePool(2, 2),
    "average_pool rounded up": ops.AveragePool(2, 2, 0, ceil=True),
    "average_pool rounded up 3x3": ops.AveragePool(3, 3, 1, ceil=True),
    "average_pool of zeros too": ops.AveragePool(3, 2, 1, counted=True),
    "average_pool of zeros too, stride 1": ops.AveragePool(3, 1, 1, counted=True),
    "average_pool without zeros": ops.AveragePool(3, 2, 1),
    "convolution of a rectangular stride": ops.Convolution(_floats(5, 3, 4, 4), _floats(5), (3, 2)),
    "layer_norm": ops.LayerNorm(_floats(10), _floats(10), 1e-6),
    "softmax": ops.Softmax(),
    "gelu": ops.Gelu(),
    "scale_shift of pixels": ops.ScaleShift(RNG.normal(1, 1, PIXELS), RNG.normal(0, 1, PIXELS)),
    "instance_norm": ops.InstanceNorm(_floats(3), _floats(3), 1e-5),
    "relu": ops.Relu(),
    "sigmoid": ops.Sigmoid(),
    "clamp": ops.Clamp(0.0, 1.0),
    "clamp below": ops.Clamp(low=1e-6),
    "reduce_mean": ops.ReduceMean(),
    "reduce_max": ops.ReduceMax(),
}

GROUPED: dict[str, Operation] = {
    "convolution in two groups": ops.Convolution(_floats(6, 4, 3, 3), _floats(6), 1, 1, groups=2),
    "convolution depthwise": ops.Convolution(_floats(8, 1, 5, 5), _floats(8), 1, 2, groups=8),
    "convolution of int8 in groups": ops.Convolution(
        RNG.integers(-63, 64, (6, 4, 3, 3)).astype(np.int8), _floats(6), 2, 1, np.abs(_floats(6)) + 0.01, groups=2
    ),
    "convolution of int8 depthwise": ops.Convolution(
        RNG.integers(-63, 64, (8, 1, 3, 3)).astype(np.int8), _floats(8), 1, 1, np.abs(_floats(8)) + 0.01, groups=8
    ),
}
"""Operations on 8 channels. No two products of the int8 weights overflow 16 bits, so every CPU computes the same."""


def _networks() -> dict[str, Network]:
    image = make_tensor(INPUT, ops.Input(PIXELS), [])
    networks = {name: _finish([image, make_tensor("x", operation, [image])]) for name, operation in UNARY.items()}
    positive = make_tensor("positive", ops.Clamp(low=0.1), [image])
    networks["power"] = _finish([image, positive, make_tensor("x", ops.Power(2.7), [positive])])
    wide = make_tensor("wide", ops.Convolution(_floats(8, 3, 1, 1)), [image])
    for name, operation in GROUPED.items():
        networks[name] = _finish([image, wide, make_tensor("x", operation, [wide])])
        if operation.arrays()["weight"].dtype == np.int8:
            pair = make_tensor("wide.quantized", ops.QuantizeDequantize(0.05, 0, "int8"), [wide])
            networks[f"{name}, quantized"] = _finish([image, wide, pair, make_tensor("x", operation, [pair])])
    relu = make_tensor("relu", ops.Relu(), [image])
    mean = make_tensor("mean", ops.ReduceMean(), [image])
    for operation in (ops.Concat(), ops.Add(), ops.Multiply()):
        networks[operation.kind] = _finish([image, relu, make_tensor("x", operation, [image, relu])])
    networks["multiply by channel"] = _finish([image, mean, make_tensor("x", ops.Multiply(), [image, mean])])
    flat = make_tensor("flat", ops.Reshape((3, 130)), [image])
    networks["mat_mul"] = _finish([image, flat, make_tensor("x", ops.MatMul(transpose_b=True), [flat, flat])])
    networks["mat_mul first"] = _finish([image, flat, make_tensor("x", ops.MatMul(transpose_a=True), [flat, flat])])
    tokens = make_tensor("tokens", ops.Transpose((1, 0)), [flat])
    linear = ops.Linear(_floats(5, 3), _floats(5))
    networks["linear"] = _finish([image, flat, tokens, make_tensor("x", linear, [tokens])])
    plain = ops.Linear(_floats(4, 130))
    networks["linear without bias"] = _finish([image, flat, make_tensor("x", plain, [flat])])
    int8 = ops.Linear(RNG.integers(-63, 64, (8, 130)).astype(np.int8), _floats(8), np.abs(_floats(8)) + 0.01)
    pair = make_tensor("flat.quantized", ops.QuantizeDequantize(0.05, 0, "int8"), [flat])
    networks["linear of int8"] = _finish([image, flat, pair, make_tensor("x", int8, [pair])])
    scores = make_tensor("scores", ops.MatMul(transpose_b=True), [image, image])
    networks["mat_mul of maps"] = _finish([image, make_tensor("x", ops.MatMul(transpose_a=True), [image, image])])
    attention = [image, scores, make_tensor("weights", ops.Softmax(), [scores])]
    networks["attention"] = _finish([*attention, make_tensor("x", ops.MatMul(), [attention[-1], image])])
    vector = make_tensor("vector", ops.Reshape((390,)), [image])
    networks["l2_normalize"] = _finish([image, vector, make_tensor("x", ops.L2Normalize(), [vector])])
    byte_image = make_tensor(INPUT, ops.Input((13, 10, 3), "uint8"), [])
    cast = make_tensor("x", ops.Cast("float32"), [byte_image])
    networks["cast and input of bytes"] = _finish([byte_image, cast])
    return networks


def _finish(tensors: list[Tensor]) -> Network:
    last = tensors[-1]
    output = make_tensor(OUTPUT, ops.Reshape((int(np.prod(last.shape)),)), [last])
    return Network((*tensors, output))


NETWORKS = _networks()


def test_every_operation_is_tested() -> None:
    assert {tensor.operation.kind for network in NETWORKS.values() for tensor in network} == set(OPERATIONS)


@pytest.mark.parametrize("target", ["openvino", "onnx", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_operation_matches_the_reference(name: str, target: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    shape = (2, *network.input.shape)
    u8 = network.input.dtype == "uint8"
    batch = RNG.integers(0, 256, shape).astype(np.uint8) if u8 else RNG.normal(0, 1, shape).astype(np.float32)
    chosen = find_target(target)
    info = EngineInfo(
        target=target,
        precision="fp32",
        io="u8_nhwc_bgr" if u8 else "f32_nchw_rgb",
        image_size=(13, 10),
        embedding_dim=network.output.shape[0],
    )
    path = tmp_path / f"op{chosen.suffix}"
    chosen.build(network, path, info, BuildOptions())
    runner = chosen.load(path, "cpu")
    got, want = runner.run(batch), run_reference(network, batch)
    runner.close()
    assert got.dtype == np.float32
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("target", ["openvino", "onnx", "reference"])
def test_an_embedding_of_zeros_stays_finite(target: str, tmp_path: Path) -> None:
    network = NETWORKS["l2_normalize"]
    chosen = find_target(target)
    info = EngineInfo(target=target, precision="fp32", io="f32_nchw_rgb", image_size=(13, 10), embedding_dim=390)
    path = tmp_path / f"op{chosen.suffix}"
    chosen.build(network, path, info, BuildOptions())
    runner = chosen.load(path, "cpu")
    assert not runner.run(np.zeros((1, *PIXELS), np.float32)).any()
    runner.close()

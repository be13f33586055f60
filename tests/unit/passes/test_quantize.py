"""Positions of Q/DQ pairs, and effects of weight rounding."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrt
from fastrt.arrays import Array
from fastrt.ir.network import Network
from fastrt.ir.ops import Convolution, QuantizeDequantize
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.passes.outside import take_bytes
from fastrt.passes.quantize import (
    list_inputs,
    list_layers,
    list_sites,
    place,
    quantize,
    quantize_weights,
)
from fastrt.targets.onnx.target import OnnxTarget
from fastrt.targets.openvino.target import OpenVinoTarget
from fastrt.targets.reference import Reference, run_reference
from fastrt.targets.tensorrt.target import TensorRtTarget
from fastrt.testing.untrained import draw_weights
from shapes import make_shapes

PLACEMENTS = {target.name: target.placement for target in (OpenVinoTarget, OnnxTarget, TensorRtTarget)}
SIZE: list[object] = ["INPUT.SIZE_TEST", [64, 32]]


def _network(preset: str, *overrides: object) -> Network:
    spec = fastrt.load_spec(preset, [*SIZE, *overrides])
    return fold_scales(fastrt.build_network(spec, make_shapes(spec)))


@pytest.fixture(scope="module")
def network() -> Network:
    return _network("sbs_R50-ibn")


def _ranges(network: Network) -> dict[str, SimpleNamespace]:
    return {
        name: SimpleNamespace(low=0.0 if name.endswith(("relu", "relu1", "relu2")) else -2.0, amax=2.0)
        for name in list_sites(network)
    }


def _pairs(network: Network) -> dict[str, QuantizeDequantize]:
    return {
        tensor.inputs[0]: tensor.operation for tensor in network if isinstance(tensor.operation, QuantizeDequantize)
    }


def _quantize_weights(operation: Convolution, mean: Array | None = None, target: str = "tensorrt") -> Convolution:
    return quantize_weights(operation, mean, input_scale=1.0, placement=PLACEMENTS[target])


@pytest.mark.parametrize("target", PLACEMENTS)
def test_all_convolutions_of_a_tensor_share_one_pair(target: str, network: Network) -> None:
    quantized = quantize(network, _ranges(network), PLACEMENTS[target])
    pairs = [tensor for tensor in quantized if isinstance(tensor.operation, QuantizeDequantize)]
    assert len({tensor.inputs for tensor in pairs}) == len(pairs)
    chosen = set(list_layers(network))
    for tensor in quantized:
        if tensor.name not in chosen:
            continue
        assert isinstance(tensor.operation, Convolution)
        assert tensor.operation.weight.dtype == np.int8
        source = quantized[tensor.inputs[0]]
        source = quantized[source.inputs[0]] if source.operation.kind == "max_pool" else source
        assert source.name.endswith(".quantized")


def test_all_convolutions_except_non_local_ones_are_quantized(network: Network) -> None:
    chosen = list_layers(network)
    assert len(chosen) == 53
    others = {tensor.name for tensor in network if isinstance(tensor.operation, Convolution)} - set(chosen)
    assert others == {
        f"backbone.NL_{stage}.{i}.{part}"
        for stage, count in ((2, 2), (3, 3))
        for i in range(count)
        for part in ("g", "theta", "phi", "W.1")
    }


def test_wide_non_local_blocks_and_heads_are_not_quantized() -> None:
    spec = fastrt.load_spec("sbs_R50", [*SIZE, "MODEL.BACKBONE.WITH_NL", True, "MODEL.HEADS.EMBEDDING_DIM", 256])
    arrays = make_shapes(spec)
    network = fold_scales(fastrt.build_network(spec, arrays))
    assert not [name for name in list_layers(network) if "NL" in name or "heads" in name]


def test_non_local_blocks_of_many_inner_channels_are_not_quantized() -> None:
    spec = fastrt.load_spec("sbs_R50", [*SIZE, "MODEL.BACKBONE.WITH_NL", True])
    arrays = make_shapes(spec)
    for name in [name for name in arrays if "NL_" in name]:
        if name.endswith("W.0.weight"):
            arrays[name] = np.repeat(arrays[name], 16, 1)
        elif name.split(".")[-2] in ("g", "theta", "phi"):
            arrays[name] = np.repeat(arrays[name], 16, 0)
    network = fold_scales(fastrt.build_network(spec, arrays))
    chosen = list_layers(network)
    assert len(chosen) == 53
    assert not [name for name in chosen if "NL" in name]
    half = compute_in_half(network, "float16")
    assert {half[f"backbone.NL_2.0.{part}"].dtype for part in ("g.flat", "f", "y.flat", "y")} == {"float32"}
    assert {half[f"backbone.NL_2.0.{part}"].dtype for part in ("g", "W.1")} == {"float16"}


def test_squeeze_and_excitation_is_not_quantized_but_its_block_is() -> None:
    network = _network("sbs_R50", "MODEL.BACKBONE.WITH_SE", True, "MODEL.BACKBONE.WITH_NL", False)
    chosen = list_layers(network)
    assert len(chosen) == 53
    assert not [name for name in chosen if ".se." in name]


def test_a_shortcut_is_quantized_and_the_branch_if_the_runtime_requires_it(network: Network) -> None:
    for target, both in (("openvino", False), ("tensorrt", False), ("onnx", True)):
        quantized = quantize(network, _ranges(network), PLACEMENTS[target])
        first, other = quantized["backbone.layer1.0.add"].inputs
        assert (first == "backbone.layer1.0.bn3.quantized") == both
        assert other == "backbone.layer1.0.downsample.1.quantized"
        assert quantized["backbone.layer1.1.add"].inputs[1] == "backbone.layer1.0.relu.quantized"
        assert "backbone.layer4.2.relu" not in _pairs(quantized)  # GeM reads it in floating point
        assert quantized["backbone.NL_2.0"].inputs == network["backbone.NL_2.0"].inputs
        assert "backbone.relu" in _pairs(quantized)  # before the pooling
        assert "backbone.maxpool" not in _pairs(quantized)


def test_grids_depend_on_the_runtime(network: Network) -> None:
    for target, positive, signed in (
        ("openvino", ("uint8", 0, 255), ("int8", 0, 127)),
        ("onnx", ("uint8", 0, 255), ("uint8", 128, 127)),
        ("tensorrt", ("int8", 0, 127), ("int8", 0, 127)),
    ):
        pairs = _pairs(quantize(network, _ranges(network), PLACEMENTS[target]))
        for name, (grid, zero, steps) in (("backbone.relu", positive), ("images.standardised", signed)):
            pair = pairs[name]
            assert (pair.grid, pair.zero_point) == (grid, zero)
            assert pair.scale == pytest.approx(2.0 / steps)


def test_excluded_convolutions_and_their_own_inputs_stay_in_floating_point(network: Network) -> None:
    kept = ["backbone.layer1.0.bn2"]
    quantized = quantize(network, _ranges(network), PLACEMENTS["openvino"], kept)
    assert quantized[kept[0]].operation is network[kept[0]].operation
    assert "backbone.layer1.0.relu1" not in _pairs(quantized)
    with pytest.raises(fastrt.CalibrationError, match="nonsense: it cannot be excluded from int8"):
        quantize(network, _ranges(network), PLACEMENTS["openvino"], ["nonsense"])


def test_a_missing_range_is_refused(network: Network) -> None:
    ranges = _ranges(network)
    del ranges["backbone.layer2.0.relu"]
    with pytest.raises(fastrt.CalibrationError, match=r"no range of backbone\.layer2\.0\.relu"):
        quantize(network, ranges, PLACEMENTS["openvino"])


def test_means_of_another_number_of_channels_are_refused(network: Network) -> None:
    name = list_inputs(network)[1]
    with pytest.raises(fastrt.CalibrationError, match="has 3 means of .*; expected one for each of its 64 "):
        quantize(network, _ranges(network), PLACEMENTS["openvino"], (), {name: np.zeros(3)})


def test_a_quantized_network_has_an_input_stage() -> None:
    spec = fastrt.load_spec("kd-r18-r101_ibn", SIZE)
    network = fold_scales(fastrt.build_network(spec, draw_weights(spec)))
    quantized = quantize(network, _ranges(network), PLACEMENTS["openvino"])
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3)).astype(np.uint8)
    planes = images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    assert np.allclose(run_reference(take_bytes(quantized), images), run_reference(quantized, planes), rtol=1e-4)


def test_tensors_of_zeros_get_a_positive_scale() -> None:
    for placement in PLACEMENTS.values():
        for amax in (0.0, 1e-300):
            assert place(SimpleNamespace(low=0.0, amax=amax), placement).scale == 1.0


@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-30, 1e30), dead=st.booleans())
def test_weights_are_rounded_by_half_a_step_at_most(seed: int, size: float, dead: bool) -> None:
    weight = (np.random.default_rng(seed).normal(0, size, (4, 3, 3, 3))).astype(np.float32)
    if dead:
        weight[1] = 0
    quantized = _quantize_weights(Convolution(weight, None, 1, 1))
    assert quantized.scale is not None
    assert (quantized.scale > 0).all()
    assert quantized.weight.min() >= -127
    error = np.abs(quantized.dequantized().astype(np.float64) - weight)
    assert (error <= 0.501 * quantized.scale[:, None, None, None]).all()


def test_the_bias_subtracts_the_mean_error_of_weight_rounding() -> None:
    rng = np.random.default_rng(3)
    operation = Convolution(rng.normal(0, 1, (8, 16, 1, 1)).astype(np.float32), None)
    mean = rng.normal(2, 1, 16)
    x = rng.normal(0, 1, (4, 16, 20, 10)) + mean[:, None, None]
    lowering = Reference(x)
    want = lowering.convolution(operation, x).mean((0, 2, 3))
    plain, corrected = (
        np.abs(lowering.convolution(_quantize_weights(operation, given_mean), x).mean((0, 2, 3)) - want).max()
        for given_mean in (None, x.mean((0, 2, 3)))
    )
    assert corrected < 1e-5
    assert plain > 100 * corrected


@given(seed=st.integers(0, 2**32 - 1), inputs=st.integers(1, 9), kernel=st.sampled_from([1, 3]))
def test_no_pair_of_products_overflows_16_bits(seed: int, inputs: int, kernel: int) -> None:
    weight = np.random.default_rng(seed).normal(0, 1, (16, inputs, kernel, kernel)).astype(np.float32)
    rounded = _quantize_weights(Convolution(weight, None), target="openvino").weight.astype(int)
    # The order of onnxruntime, and of OpenVINO for an even number of channels.
    for order in (rounded, rounded[:, ::-1]) if inputs % 2 else (rounded,):
        row = order.transpose(0, 2, 3, 1).reshape(16, -1)
        first, second = row[:, 0 : row.shape[1] // 2 * 2 : 2], row[:, 1::2]
        for sign in (1, -1):
            assert (255 * (np.maximum(sign * first, 0) + np.maximum(sign * second, 0))).max(initial=0) <= 32767
    assert np.abs(rounded).max() > 63  # larger than with 7 bits for all weights


def test_biases_of_onnx_are_multiples_of_its_int32_step_and_fit() -> None:
    rng = np.random.default_rng(5)
    weight = rng.normal(0, 1, (8, 4, 1, 1)).astype(np.float32)
    weight[3] *= np.float32(1e-25)  # like a channel that its batch norm has switched off
    operation = Convolution(weight, rng.normal(0, 1, 8).astype(np.float32))
    quantized = _quantize_weights(operation, target="onnx")
    assert quantized.scale is not None
    assert quantized.bias is not None
    integers = quantized.bias.astype(np.float64) / quantized.scale
    assert np.allclose(integers, np.rint(integers), atol=1e-2)
    assert np.abs(integers).max() <= 2**30
    assert operation.bias is not None
    assert np.allclose(quantized.bias, operation.bias, atol=quantized.scale.max())


def test_sites_are_inputs_of_convolutions_and_additions(network: Network) -> None:
    sites, inputs = list_sites(network), list_inputs(network)
    assert "backbone.maxpool" in inputs
    assert set(inputs) - {"backbone.maxpool"} <= set(sites)

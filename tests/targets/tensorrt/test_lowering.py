"""The layers and precisions that the lowering requests from TensorRT 8."""

from __future__ import annotations

import numpy as np
import pytest

import fastrt
from fastrt.ir.network import INPUT, Network, Tensor, make_tensor
from fastrt.ir.ops import Clamp, Convolution, Input, InstanceNorm, Multiply, Power, QuantizeDequantize, Relu
from fastrt.passes import prepare
from fastrt.passes.half import compute_in_half
from fastrt.passes.quantize import quantize_weights
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.tensorrt.lowering import TensorRtLowering
from fastrt.targets.tensorrt.target import TensorRtTarget
from fastrt.testing.untrained import draw_weights
from shapes import make_shapes
from targets.tensorrt.fake_definition import Definition, make_capabilities

SPEC = fastrt.load_spec(None, ["MODEL.BACKBONE.DEPTH", "18x", "INPUT.SIZE_TEST", [64, 32]])
INFO = EngineInfo(
    target="tensorrt", precision="fp16", io="u8_nhwc_bgr", image_size=(64, 32), embedding_dim=512, normalized=True
)


def _network() -> Network:
    image = make_tensor(INPUT, Input((8, 4, 4)), [])
    weights = Convolution(np.ones((8, 8, 1, 1), np.float32))
    quantized = make_tensor("quantized", QuantizeDequantize(0.5, 0, "int8"), [image])
    integers = make_tensor("integers", quantize_weights(weights, None, 1.0, TensorRtTarget.placement), [quantized])
    floats = make_tensor("floats", weights, [integers])
    product = make_tensor("product", Multiply(), [floats, integers])
    tensors: list[Tensor] = [image, quantized, integers, floats, product, make_tensor("relu", Relu(), [product])]
    return compute_in_half(Network(tuple(tensors)), "float16")


def _lower(network: Network, *, quantized: bool = False, batch: int = 1) -> tuple[Definition, TensorRtLowering]:
    """Lower a network for TensorRT 8."""
    images = np.zeros((1, *network.input.shape), network.input.dtype)
    definition = Definition(images)
    capabilities = make_capabilities(strongly_typed=False)
    lowering = TensorRtLowering(capabilities, definition, [], half=True, quantized=quantized, batch=batch)
    for _ in lowering.lower(network):
        pass
    return definition, lowering


@pytest.mark.parametrize(("quantized", "requested"), [(True, {"floats", "product"}), (False, set())])
def test_next_to_int8_other_layers_request_fp16(quantized: bool, requested: set[str]) -> None:
    definition, lowering = _lower(_network(), quantized=quantized)
    assert {layer.name for layer in definition.layers if getattr(layer, "precision", None) == "HALF"} == requested
    assert lowering.bound == bool(requested)


@pytest.mark.parametrize(("batch", "by_groups"), [(4, False), (8, True)])
def test_instance_norms_are_group_norms_for_many_images(batch: int, by_groups: bool) -> None:
    image = make_tensor(INPUT, Input((3, 4, 4)), [])
    norm = make_tensor("norm", InstanceNorm(np.ones(3), np.zeros(3), 1e-5), [image])
    definition, _ = _lower(Network((image, norm)), batch=batch)
    (layer,) = [layer for layer in definition.layers if layer.type == "NORMALIZATION"]
    assert (layer.num_groups == 3) == by_groups


def test_select_layers_join_their_surroundings() -> None:
    """The input stage up to its cast to FP16, and an embedding's length."""
    network = prepare(fastrt.build_network(SPEC, make_shapes(SPEC)), INFO, strongly_typed=True)
    definition, _ = _lower(network)
    selects = [layer for layer in definition.layers if layer.type == "SELECT"]
    assert [layer.name.partition(".")[0] for layer in selects] == ["images", "embedding"]
    kinds = [layer.type for layer in definition.layers]
    first = kinds[: kinds.index("CONVOLUTION")]
    assert first.count("CAST") == 2
    assert first[-1] == "CAST"


def test_select_layers_join_the_middle_of_non_local_blocks() -> None:
    spec = fastrt.load_spec("sbs_R50-ibn", ["INPUT.SIZE_TEST", [64, 32]])
    network = prepare(fastrt.build_network(spec, draw_weights(spec)), INFO, strongly_typed=True)
    definition, _ = _lower(network)
    selects = [layer.name for layer in definition.layers if layer.type == "SELECT" and "NL" in layer.name]
    assert selects == [f"backbone.NL_{block}.f" for block in ("2.0", "2.1", "3.0", "3.1", "3.2")]


@pytest.mark.parametrize(("channels", "quantized", "barriers"), [(512, False, 0), (2048, False, 1), (2048, True, 0)])
def test_a_barrier_separates_a_wide_map_from_gem(channels: int, quantized: bool, barriers: int) -> None:
    image = make_tensor(INPUT, Input((channels, 4, 4)), [])
    relu = make_tensor("relu", Relu(), [image])
    clamp = make_tensor("clamp", Clamp(low=1e-6), [relu], exact=True)
    power = make_tensor("power", Power(3.0), [clamp], exact=True)
    network = compute_in_half(Network((image, relu, clamp, power)), "float16")
    definition, _ = _lower(network, quantized=quantized)
    kinds = [layer.type for layer in definition.layers]
    assert kinds.count("POOLING") == barriers
    pool = ["CAST", *["POOLING"] * barriers, "CAST"]
    first = kinds.index("ACTIVATION") + 1
    assert kinds[first : first + len(pool)] == pool

"""ViT: depths, strides, the position embedding, and int8 of its linear layers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.ir.network import Network
from fastrt.ir.ops import WEIGHTED, Linear, MatMul, QuantizeDequantize, ScaleShift
from fastrt.models.backbones.vit import SIZES, ViT
from fastrt.passes.half import compute_in_half
from fastrt.passes.quantize import list_layers
from fastrt.similarity import centred_cosines
from fastrt.targets.registry import find_target
from shapes import make_shapes

WIDTH = 768


def _spec(size: tuple[int, int] = (32, 48), **settings: object) -> fastrt.ModelSpec:
    return fastrt.ModelSpec(backbone=ViT(**settings), image_size=size, with_bnneck=True)


def _with_positions(spec: fastrt.ModelSpec, positions: Array) -> dict[str, Array]:
    return {**make_shapes(spec), "backbone.pos_embed": np.asarray(positions, np.float32)}


def _embedding(network: Network) -> Array:
    operation = network["backbone.pos_embed"].operation
    assert isinstance(operation, ScaleShift)
    return operation.shift


@pytest.mark.parametrize(("depth", "blocks", "hidden"), [("base", 12, 3072), ("small", 8, 2304)])
def test_each_depth_is_built_and_recognised(depth: str, blocks: int, hidden: int) -> None:
    spec = _spec(depth=depth)
    arrays = make_shapes(spec)
    network = fastrt.build_network(spec, arrays)
    assert network.output.shape == (WIDTH,)
    assert sum(isinstance(tensor.operation, MatMul) for tensor in network) == 2 * blocks
    assert network["backbone.blocks.1.mlp.fc1"].shape == (1 + 2 * 3, hidden)
    assert ("backbone.blocks.0.attn.qkv.bias" in arrays) == (depth == "base")
    guess = fastrt.guess_spec({name: array.reshape(-1) for name, array in arrays.items()})
    assert guess.spec.backbone == ViT(depth=depth)
    assert guess.assumed["MODEL.BACKBONE.STRIDE_SIZE"] == (16, 16)
    assert guess.assumed["MODEL.PIXEL_MEAN"] == guess.spec.pixel_std == (127.5, 127.5, 127.5)


def test_only_the_class_token_leaves_the_last_block() -> None:
    spec = _spec(depth="small")
    network = fastrt.build_network(spec, make_shapes(spec))
    assert network["backbone.blocks.6.mlp.add"].shape == (7, WIDTH)
    assert network["backbone.blocks.7.attn.k"].shape == (7, WIDTH)
    assert network["backbone.blocks.7.attn.q"].shape == network["backbone.blocks.7.mlp.add"].shape == (1, WIDTH)


@pytest.mark.parametrize(("stride", "tokens"), [((16, 16), 6), ((12, 8), 2 * 5), ((1, 32), 17 * 2), ([8, 16], 9)])
def test_rows_and_columns_follow_from_the_stride(stride: tuple[int, int], tokens: int) -> None:
    config = {
        "MODEL.BACKBONE.NAME": "build_vit_backbone",
        "MODEL.BACKBONE.DEPTH": "small",
        "MODEL.BACKBONE.STRIDE_SIZE": stride,
        "MODEL.HEADS.WITH_BNNECK": True,
        "INPUT.SIZE_TEST": [32, 48],
    }
    spec = fastrt.load_spec(config)
    network = fastrt.build_network(spec, make_shapes(spec))
    assert network["backbone.pos_embed"].shape == (1 + tokens, WIDTH)


@pytest.mark.parametrize("stride", [(0, 16), (16,), (True, 16), "16"])
def test_a_wrong_stride_is_refused(stride: object) -> None:
    with pytest.raises(fastrt.SpecError, match=r"stride_size"):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_vit_backbone", "MODEL.BACKBONE.STRIDE_SIZE": stride})


def test_a_depth_that_fastreid_does_not_have_is_refused() -> None:
    with pytest.raises(fastrt.SpecError, match=r"depth is 'large', expected 'base' or 'small'"):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_vit_backbone", "MODEL.BACKBONE.DEPTH": "large"})


def test_the_class_token_stands_before_the_patches() -> None:
    spec = _spec(depth="small")
    positions = np.random.default_rng(0).normal(0, 1, (1, 7, WIDTH)).astype(np.float32)
    arrays = _with_positions(spec, positions)
    operation = fastrt.build_network(spec, arrays)["backbone.pos_embed"].operation
    assert isinstance(operation, ScaleShift)
    np.testing.assert_array_equal(operation.scale[:, 0], [0, 1, 1, 1, 1, 1, 1])
    first = positions[0, :1] + arrays["backbone.cls_token"][0]
    np.testing.assert_allclose(operation.shift, np.concatenate([first, positions[0, 1:]]), rtol=1e-6)


def test_positions_of_a_square_grid_are_resized(caplog: pytest.LogCaptureFixture) -> None:
    spec = _spec((32, 96), depth="small")  # 2 rows by 6 columns
    grid = np.arange(9, dtype=np.float32).reshape(3, 3)
    positions = np.repeat(np.concatenate([[-1], grid.ravel()])[None, :, None], WIDTH, 2)
    arrays = {**_with_positions(spec, positions), "backbone.cls_token": np.zeros((1, 1, WIDTH), np.float32)}
    with caplog.at_level(logging.WARNING, "fastrt"):
        shift = _embedding(fastrt.build_network(spec, arrays))[:, 5]
    # torch.nn.functional.interpolate(grid, (2, 6), mode="bilinear", align_corners=False)
    rows = [0.75, 1.0, 1.5, 2.0, 2.5, 2.75], [5.25, 5.5, 6.0, 6.5, 7.0, 7.25]
    np.testing.assert_allclose(shift, [-1, *rows[0], *rows[1]], atol=1e-12)
    assert "of 9 patches, and the image has 2 rows by 6 columns; it is taken for a grid of 3x3" in caplog.text


def test_positions_of_another_grid_are_refused() -> None:
    spec = _spec(depth="small")
    arrays = _with_positions(spec, np.zeros((1, 9, WIDTH), np.float32))
    with pytest.raises(fastrt.WeightsError, match=r"is of 8 patches, expected 6, 2 rows by 3 columns, or a square"):
        fastrt.build_network(spec, arrays)
    for wrong in (np.zeros((1, 7, WIDTH + 1)), np.zeros((1, 0, WIDTH)), np.zeros((7, WIDTH))):
        with pytest.raises(fastrt.WeightsError, match=r"pos_embed"):
            fastrt.build_network(spec, _with_positions(spec, wrong))


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(fastrt.NetworkError, match=r"a window of 16 over a feature map of 15 pixels"):
        make_shapes(_spec((15, 48)))


def test_all_tokens_are_half_and_the_embedding_is_float32() -> None:
    spec = _spec(depth="small")
    half = compute_in_half(fastrt.build_network(spec, make_shapes(spec)), "float16")
    wide = {tensor.name for tensor in half if tensor.dtype == "float32"}
    assert {tensor.name for tensor in half if isinstance(tensor.operation, WEIGHTED)}.isdisjoint(wide)
    assert half["backbone.blocks.3.attn.softmax"].dtype == half["backbone.norm"].dtype == "float16"
    assert "heads.bottleneck.0" in wide


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Two blocks of the small ViT, with some variance in every layer."""
    monkeypatch.setitem(SIZES, "small", replace(SIZES["small"], blocks=2))
    rng = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    spec = _spec(depth="small")
    for name, array in make_shapes(spec).items():
        noise = rng.normal(0, 1, array.shape).astype(np.float32)
        if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            arrays[name] = 1 + 0.1 * np.abs(noise)
        else:
            arrays[name] = noise / np.float32(array[0].size ** 0.5 if array.ndim > 1 else 10)
    return fastrt.build_network(spec, arrays)


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_linear_layers_are_int8(suffix: str, network: Network, tmp_path: Path) -> None:
    images = [draw_person(i, 0, 32, 48) for i in range(8)]
    table = fastrt.calibrate(network, images, "minmax")
    assert len(table.means["backbone.blocks.0.norm1"]) == WIDTH
    kept = ("backbone.blocks.1.attn.k",)
    fastrt.build(network, tmp_path / f"full{suffix}")
    fastrt.build(network, tmp_path / f"int8{suffix}", precision="int8", table=table, kept=kept, check=False)
    with fastrt.load(tmp_path / f"full{suffix}") as full, fastrt.load(tmp_path / f"int8{suffix}") as session:
        assert centred_cosines(session(images), full(images)).min() > 0.99
        assert fastrt.verify(session, network, table=table)


def test_attention_and_residuals_are_not_quantized(network: Network) -> None:
    table = fastrt.calibrate(network, [draw_person(i, 0, 32, 48) for i in range(2)], "minmax")
    for target in ("openvino", "onnx", "tensorrt"):
        quantized = table.quantize(network, find_target(target).placement)
        pairs = {tensor.inputs[0] for tensor in quantized if isinstance(tensor.operation, QuantizeDequantize)}
        assert {name.split(".", 3)[3] for name in pairs if ".blocks.0." in name} == {
            "norm1",
            "attn.joined",
            "norm2",
            "mlp.act",
        }
        linear = [tensor.operation for tensor in quantized if isinstance(tensor.operation, Linear)]
        assert sum(operation.scale is not None for operation in linear) == 2 * 6 - 4  # not the class token's
        assert quantized["backbone.blocks.0.attn.add"].inputs == network["backbone.blocks.0.attn.add"].inputs
    assert len(list_layers(network)) == 1 + 2 * 6 - 4

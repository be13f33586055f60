"""Half precision: the tensors that stay in float32, and equal results except for rounding."""

from __future__ import annotations

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.ir.network import INPUT, Network, make_tensor
from fastrt.ir.ops import Cast, Convolution, Input, Power, Relu, ScaleShift
from fastrt.passes import prepare
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.passes.outside import normalize_embedding, take_bytes
from fastrt.passes.slices import split_before_slices
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference import Reference
from fastrt.targets.registry import find_target
from fastrt.testing.untrained import draw_weights
from shapes import make_shapes
from unrounded import UnroundedReference

SPEC = fastrt.load_spec("sbs_R50-ibn", ["INPUT.SIZE_TEST", [64, 32]])
INFO = EngineInfo(
    target="tensorrt",
    precision="fp32",
    io="u8_nhwc_bgr",
    image_size=(64, 32),
    embedding_dim=2048,
    normalized=True,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> Network:
    return normalize_embedding(take_bytes(fold_scales(fastrt.build_network(SPEC, draw_weights(SPEC)))))


def _run(network: Network) -> Array:
    *_, (_, embeddings) = Reference(IMAGES).lower(network)
    return embeddings


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tensors_that_exceed_fp16_stay_in_float32(network: Network, dtype: str) -> None:
    half = compute_in_half(network, dtype)
    assert half.output.dtype == "float32"
    assert half["embedding.raw"].dtype == "float32"
    assert half["heads.pool_layer.clamp"].dtype == half["heads.pool_layer.power"].dtype == "float32"
    assert half["backbone.NL_2.0.f"].dtype == half["backbone.NL_2.0.y"].dtype == "float32"
    assert half["backbone.NL_2.0.phi_g"].dtype == dtype
    convolutions = [tensor for tensor in half if isinstance(tensor.operation, Convolution)]
    assert {tensor.dtype for tensor in convolutions} == {dtype}
    assert all(tensor.dtype == "float32" for tensor in half if isinstance(tensor.operation, Power))
    dtypes = {tensor.name: tensor.dtype for tensor in half}
    mixed = [
        tensor.name
        for tensor in half
        if not isinstance(tensor.operation, Cast) and {dtypes[name] for name in tensor.inputs} - {tensor.dtype}
    ]
    assert not mixed


def test_squeeze_and_excitation_is_half_without_casts() -> None:
    spec = fastrt.load_spec(
        "sbs_R50", ["INPUT.SIZE_TEST", [64, 32], "MODEL.BACKBONE.WITH_SE", True, "MODEL.BACKBONE.WITH_NL", False]
    )
    half = compute_in_half(fold_scales(fastrt.build_network(spec, make_shapes(spec))), "float16")
    assert half["backbone.layer1.0.se.avg_pool"].dtype == half["backbone.layer1.0.se"].dtype == "float16"
    casts = [tensor.name for tensor in half if isinstance(tensor.operation, Cast)]
    assert len(casts) == 2, casts  # after the standardisation, and before GeM
    assert casts[0] == "images.standardised.float16"
    assert {other.name for other in half.consumers()[casts[1]]} == {"heads.pool_layer.clamp"}


def test_an_exact_tensor_stays_in_float32() -> None:
    image = make_tensor(INPUT, Input((3, 8, 4)), [])
    pixels = make_tensor("pixels", ScaleShift(np.ones(3), np.zeros(3)), [image])
    for exact in (False, True):
        relu = make_tensor("relu", Relu(), [pixels], exact=exact)
        again = make_tensor("again", Relu(), [relu])
        half = compute_in_half(Network((image, pixels, relu, again)), "float16")
        assert half["relu"].dtype == ("float32" if exact else "float16")
        assert half["relu"].exact == exact
        assert half["again"].dtype == "float16"


def test_a_mark_changes_neither_text_nor_fingerprint() -> None:
    image = make_tensor(INPUT, Input((3, 8, 4)), [])
    plain, marked = (Network((image, make_tensor("relu", Relu(), [image], exact=exact))) for exact in (False, True))
    assert (str(plain), plain.fingerprint()) == (str(marked), marked.fingerprint())


def test_half_changes_only_rounding(network: Network) -> None:
    want = _run(network)
    *_, (_, got) = UnroundedReference(IMAGES).lower(compute_in_half(network, "float16"))
    assert np.allclose(got, want, rtol=0, atol=1e-9)


def test_pixels_are_standardised_in_float32(network: Network) -> None:
    half = compute_in_half(network, "float16")
    assert {half[name].dtype for name in ("images.float", "images.planes", "images.standardised_bgr")} == {"float32"}
    assert half["images.standardised_bgr.float16"].operation.attributes() == {"dtype": "float16"}


def test_products_of_a_non_local_block_stay_in_range(network: Network) -> None:
    """A power of two scales down before the product and up after it, exactly."""
    half = compute_in_half(network, "float16")
    before, after = (net["backbone.NL_2.0.phi"].operation.arrays() for net in (network, half))
    pixels = 8 * 4
    scale = before["weight"] / after["weight"]
    assert np.allclose(scale, scale.flat[0])
    assert float(scale.flat[0]) == 2.0 ** round(np.log2(pixels) / 2)
    ends = (net["backbone.NL_2.0.W.1"].operation.arrays() for net in (network, half))
    first, last = (arrays["weight"] for arrays in ends)
    assert np.array_equal(last, first * scale.flat[0] ** 2)


def test_a_convolution_before_ibn_is_split(network: Network) -> None:
    split = split_before_slices(network)
    assert not [tensor for tensor in split if tensor.operation.kind == "slice"]
    assert np.array_equal(_run(split), _run(network))


@pytest.mark.parametrize(
    ("target", "batches", "kind"),
    [
        ("tensorrt", (1, 4), "slice"),
        ("tensorrt", (1, 8), "convolution"),
        ("openvino", (), "convolution"),
        ("onnx", (), "slice"),
    ],
)
def test_each_target_has_a_smallest_batch_for_the_split(target: str, batches: tuple[int, ...], kind: str) -> None:
    described = fastrt.build_network(SPEC, make_shapes(SPEC))
    split = max(batches or (1,)) > find_target(target).whole_up_to
    prepared = prepare(described, INFO, strongly_typed=True, split=split)
    assert prepared["backbone.layer1.0.bn1.IN.slice"].operation.kind == kind

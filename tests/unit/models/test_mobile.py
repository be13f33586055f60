"""MobileNetV2, MobileNetV3 and ShuffleNetV2 in all widths: their shapes, and their recognition from names."""

from __future__ import annotations

import pytest

import fastrt
from fastrt.ir.ops import Convolution
from fastrt.models.backbones.mobilenetv2 import DEPTHS, STAGES
from fastrt.models.backbones.mobilenetv3 import BLOCKS
from fastrt.models.backbones.shufflenetv2 import WIDTHS
from fastrt.models.backbones.table import list_families
from fastrt.models.layers import round_channels
from shapes import make_shapes

MOBILENETV2, MOBILENETV3, SHUFFLENETV2 = (
    f"build_{family}_backbone" for family in ("mobilenetv2", "mobilenetv3", "shufflenetv2")
)
CASES = [
    *((MOBILENETV2, depth) for depth in DEPTHS),
    *((MOBILENETV3, depth) for depth in BLOCKS),
    *((SHUFFLENETV2, depth) for depth in WIDTHS),
]


def _spec(name: str, depth: str) -> fastrt.ModelSpec:
    return fastrt.load_spec({
        "MODEL.BACKBONE.NAME": name, "MODEL.BACKBONE.DEPTH": depth, "INPUT.SIZE_TEST": [64, 32],
        "MODEL.HEADS.WITH_BNNECK": True,
    })  # fmt: skip


@pytest.mark.parametrize(("name", "depth"), CASES)
def test_a_checkpoint_is_built_and_recognised(name: str, depth: str) -> None:
    spec = _spec(name, depth)
    arrays = make_shapes(spec)
    network = fastrt.build_network(spec, arrays)
    last = [tensor for tensor in network if tensor.name.startswith("backbone.")][-1]
    assert last.shape == (spec.backbone.channels, 2, 1)
    assert fastrt.guess_spec(arrays).spec.backbone == spec.backbone
    flat = {key: array.ravel() for key, array in arrays.items()}  # a .wts has no shapes
    recognised = [family.recognise(flat) for family in list_families()]
    assert [backbone for backbone in recognised if backbone is not None] == [spec.backbone]


@pytest.mark.parametrize(
    ("name", "depth", "channels"),
    [
        (MOBILENETV2, "0.1x", 1280),
        (MOBILENETV3, "Large", 1280),
        (MOBILENETV3, "Small", 1024),
        (SHUFFLENETV2, "1.5x", 1024),
        (SHUFFLENETV2, "2.0x", 2048),
    ],
)
def test_the_feature_map_has_the_documented_channels(name: str, depth: str, channels: int) -> None:
    assert _spec(name, depth).backbone.channels == channels


@pytest.mark.parametrize(
    ("depth", "widths"),
    [
        ("0.75x", [24, 16, 24, 24, 48, 72, 120, 240]),
        ("0.35x", [16, 8, 8, 16, 24, 32, 56, 112]),
        ("0.25x", [8, 8, 8, 8, 16, 24, 40, 80]),
        ("0.1x", [4, 4, 4, 4, 8, 12, 16, 32]),
    ],
)
def test_narrow_widths_are_rounded_as_in_the_paper(depth: str, widths: list[int]) -> None:
    """Multiples of 8, of 4 at 0.1x, and never less than nine tenths of the product."""
    factor, divisor = float(depth[:-1]), 4 if depth == "0.1x" else 8
    assert [round_channels(factor * width, divisor) for width in (32, *(stage[1] for stage in STAGES))] == widths
    spec = _spec(MOBILENETV2, depth)
    arrays = make_shapes(spec)
    starts = [0, 1, 2, 4, 7, 11, 14, 17]  # the stem, and the first block of each stage
    for block, width in zip(starts, widths, strict=True):
        last = "0" if block == 0 else "conv.3" if block == 1 else "conv.6"
        assert len(arrays[f"backbone.features.{block}.{last}.weight"]) == width


def test_an_even_channel_passes_a_shuffle_block() -> None:
    spec = _spec(SHUFFLENETV2, "0.5x")
    network = fastrt.build_network(spec, make_shapes(spec))
    convolutions = {t.name: t.operation for t in network if isinstance(t.operation, Convolution)}
    first = convolutions["backbone.features.1.branch_main.0"]
    assert first.weight.shape == (24, 24, 1, 1)
    assert network["backbone.features.1"].inputs[0] == "backbone.features.1.shuffle.even"
    assert network["backbone.features.1.branch_main.0"].inputs[0] == "backbone.features.1.shuffle.odd"


def test_another_depth_is_refused() -> None:
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is '50x', expected 'Large' or 'Small'"):
        _spec(MOBILENETV3, "50x")

"""FastReID's OSNet: every width, with and without instance norms."""

from __future__ import annotations

import pytest

import fastrt
from fastrt.models.backbones.osnet import CHANNELS, OSNet, Width
from fastrt.models.backbones.table import list_families
from shapes import make_shapes


def load(width: str, **keys: object) -> fastrt.ModelSpec:
    name = {"NAME": "build_osnet_backbone", "DEPTH": width}
    return fastrt.load_spec({"MODEL": {"BACKBONE": {**name, **keys}}, "INPUT.SIZE_TEST": [80, 48]})


@pytest.mark.parametrize("with_ibn", [False, True])
@pytest.mark.parametrize("width", CHANNELS)
def test_a_width_is_built_and_recognised(width: Width, with_ibn: bool) -> None:
    spec = load(width, WITH_IBN=with_ibn)
    arrays = make_shapes(spec)
    network = fastrt.build_network(spec, arrays)
    assert network["backbone.conv5.relu"].shape == (CHANNELS[width][-1], 5, 3)
    assert spec.backbone.channels == CHANNELS[width][-1]
    for names in (arrays, {name: array.reshape(-1) for name, array in arrays.items()}):
        found = [family.recognise(names) for family in list_families()]
        assert [backbone for backbone in found if backbone] == [OSNet(depth=width, with_ibn=with_ibn)]


def test_an_odd_last_row_or_column_is_dropped() -> None:
    spec = load("x0_25").replace(image_size=(72, 40))
    network = fastrt.build_network(spec, make_shapes(spec))
    assert [network[name].shape[1:] for name in ("backbone.conv2.2.1", "backbone.conv3.2.1")] == [(9, 5), (4, 2)]


def test_only_the_stem_and_conv2_have_instance_norms() -> None:
    spec = load("x0_25", WITH_IBN=True)
    network = fastrt.build_network(spec, make_shapes(spec))
    norms = [tensor.name for tensor in network if tensor.operation.kind == "instance_norm"]
    assert norms == ["backbone.conv1.bn", "backbone.conv2.0.IN", "backbone.conv2.1.IN"]
    assert network["backbone.conv2.0.IN"].inputs == ("backbone.conv2.0.add",)
    assert network["backbone.conv2.0.relu"].inputs == ("backbone.conv2.0.IN",)


def test_the_streams_share_a_gate() -> None:
    spec = load("x0_25")
    network = fastrt.build_network(spec, make_shapes(spec))
    weights = [network[f"backbone.conv4.1.gate.{i}.fc1"].operation.arrays()["weight"] for i in range(4)]
    assert weights[0].shape == (2, 32, 1, 1)
    assert len({weight.tobytes() for weight in weights}) == 1
    lengths = [
        sum(tensor.name.startswith(f"backbone.conv4.1.conv2{letter}.") for tensor in network) for letter in "abcd"
    ]
    assert lengths == [4, 8, 12, 16]


def test_a_width_is_needed() -> None:
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is missing, expected 'x1_0', 'x0_75', 'x0_5' or"):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_osnet_backbone"})
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is '50x', expected 'x1_0', 'x0_75', 'x0_5' or 'x0_25'\."):
        load("50x")

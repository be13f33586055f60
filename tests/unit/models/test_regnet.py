from __future__ import annotations

import logging

import pytest

import fastrt
from fastrt.ir.ops import Convolution, Multiply
from fastrt.models.backbones.regnet import STAGES, RegNet
from fastrt.models.backbones.table import list_families
from shapes import make_shapes

NAME = "build_regnet_backbone"
CHANNELS = {
    "200x": 368, "400x": 384, "800x": 672, "1600x": 912, "3200x": 1008, "4000x": 1360, "6400x": 1624,
    "200y": 368, "400y": 440, "800y": 768, "1600y": 888, "3200y": 1512, "4000y": 1088, "6400y": 1296,
}  # fmt: skip


def _make_spec(depth: str, **settings: object) -> fastrt.ModelSpec:
    return fastrt.ModelSpec(backbone={"name": NAME, "depth": depth, **settings}, image_size=(64, 32), with_bnneck=True)


@pytest.mark.parametrize("depth", STAGES)
def test_every_depth_is_built_and_recognised(depth: str) -> None:
    spec = _make_spec(depth)
    arrays = make_shapes(spec)
    assert [found for family in list_families() if (found := family.recognise(arrays))] == [spec.backbone]
    assert RegNet.recognise({name: array.reshape(-1) for name, array in arrays.items()}) == spec.backbone
    network = fastrt.build_network(spec, arrays)
    *_, features = (tensor for tensor in network if len(tensor.shape) == 3 and tensor.shape[1:] != (1, 1))
    assert features.shape == (spec.backbone.channels, 4, 2) == (CHANNELS[depth], 4, 2)
    blocks = sum(STAGES[depth].blocks)
    assert sum(isinstance(tensor.operation, Multiply) for tensor in network) == (blocks if depth[-1] == "y" else 0)
    for tensor in network:
        if isinstance(tensor.operation, Convolution) and tensor.name.endswith(".f.b"):
            assert tensor.operation.weight.shape[1] == STAGES[depth].group_width


def test_the_last_stride_may_be_2() -> None:
    spec = _make_spec("200x", last_stride=2)
    assert fastrt.build_network(spec, make_shapes(spec))["backbone.s4.b7.relu"].shape == (368, 2, 1)


def test_an_x_with_squeeze_and_excitation_follows_its_arrays(caplog: pytest.LogCaptureFixture) -> None:
    arrays = make_shapes(_make_spec("800x", excited=True))
    spec = _make_spec("800x")
    assert fastrt.guess_spec(arrays).spec.backbone == spec.backbone
    with caplog.at_level(logging.WARNING, "fastrt"):
        network = fastrt.build_network(spec, arrays)
    (message,) = caplog.messages
    assert message.startswith("DEPTH is 800x, but the checkpoint has squeeze-and-excitation: it is built, as FastReID")
    assert sum(isinstance(tensor.operation, Multiply) for tensor in network) == 16
    assert fastrt.build_network(fastrt.ModelSpec(**network.spec), arrays).fingerprint() == network.fingerprint()


def test_a_y_without_squeeze_and_excitation_is_refused() -> None:
    arrays = make_shapes(_make_spec("400x"))
    with pytest.raises(fastrt.WeightsError, match="weights do not fit regnet 400y: "):
        fastrt.build_network(_make_spec("400y"), arrays)


def test_a_depth_of_another_family_is_refused() -> None:
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is '50x', expected '200x', .* or '6400y'\."):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": NAME, "MODEL.BACKBONE.DEPTH": "50x"})

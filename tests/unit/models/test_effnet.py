from __future__ import annotations

import pytest

import fastrt
from fastrt.ir.ops import Add, Convolution
from fastrt.models.backbones.effnet import STAGES, EfficientNet
from fastrt.models.backbones.table import list_families
from shapes import make_shapes

NAME = "build_effnet_backbone"
CHANNELS = {"b0": 1280, "b1": 1280, "b2": 1408, "b3": 1536, "b4": 1792, "b5": 2048}


def _make_spec(depth: str, last_stride: int = 1) -> fastrt.ModelSpec:
    return fastrt.ModelSpec(
        backbone={"name": NAME, "depth": depth, "last_stride": last_stride}, image_size=(64, 32), with_bnneck=True
    )


@pytest.mark.parametrize("depth", STAGES)
def test_every_depth_is_built_and_recognised(depth: str) -> None:
    spec = _make_spec(depth)
    arrays = make_shapes(spec)
    assert [found for family in list_families() if (found := family.recognise(arrays))] == [spec.backbone]
    assert EfficientNet.recognise({name: array.reshape(-1) for name, array in arrays.items()}) == spec.backbone
    network = fastrt.build_network(spec, arrays)
    *_, features = (tensor for tensor in network if len(tensor.shape) == 3 and tensor.shape[1:] != (1, 1))
    assert features.shape == (spec.backbone.channels, 4, 2) == (CHANNELS[depth], 4, 2)
    groups = [(t.operation.groups, t.shape[0]) for t in network if isinstance(t.operation, Convolution)]
    depthwise = [channels for count, channels in groups if count == channels]
    assert len(depthwise) == sum(STAGES[depth].blocks)
    # The first block of a stage has no shortcut: its width or its stride is another.
    assert sum(isinstance(tensor.operation, Add) for tensor in network) == len(depthwise) - 7


def test_the_last_stride_is_of_the_sixth_stage() -> None:
    spec = _make_spec("b0", 2)
    network = fastrt.build_network(spec, make_shapes(spec))
    assert network["backbone.s5.b3.add"].shape == (112, 4, 2)
    assert network["backbone.s6.b1.lin_proj_bn"].shape == (192, 2, 1)
    assert network["backbone.head.swish"].shape == (1280, 2, 1)


def test_a_depth_of_another_family_is_refused() -> None:
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is 'b6', expected 'b0', .* or 'b5'\."):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": NAME, "MODEL.BACKBONE.DEPTH": "b6"})

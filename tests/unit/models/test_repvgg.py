from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastrt
from fastrt.images.drawing import draw_person
from fastrt.ir.ops import Convolution
from fastrt.models.backbones.repvgg import VARIANTS, RepVGG
from fastrt.models.backbones.table import list_families
from fastrt.passes import prepare, simplify
from fastrt.testing.untrained import draw_weights
from shapes import make_shapes

NAME = "build_repvgg_backbone"
CHANNELS = {"A0": 1280, "A1": 1280, "A2": 1408, "B0": 1280, "B1": 2048, "B2": 2560, "B3": 2560}
INFO = SimpleNamespace(io="u8_nhwc_bgr", precision="fp32", normalized=True)


def _make_spec(depth: str, last_stride: int = 1) -> fastrt.ModelSpec:
    return fastrt.ModelSpec(
        backbone={"name": NAME, "depth": depth, "last_stride": last_stride}, image_size=(64, 32), with_bnneck=True
    )


@pytest.mark.parametrize("depth", VARIANTS)
def test_every_depth_is_built_and_recognised(depth: str) -> None:
    spec = _make_spec(depth)
    arrays = make_shapes(spec)
    assert [found for family in list_families() if (found := family.recognise(arrays))] == [spec.backbone]
    flat = {name: array.reshape(-1) for name, array in arrays.items()}
    assert RepVGG.recognise(flat) == spec.backbone
    network = fastrt.build_network(spec, arrays)
    *_, features = (tensor for tensor in network if len(tensor.shape) == 3 and tensor.shape[1:] != (1, 1))
    assert features.shape == (spec.backbone.channels, 4, 2) == (CHANNELS[depth[:2]], 4, 2)
    groups = [t.operation.groups for t in network if isinstance(t.operation, Convolution) and "dense" in t.name]
    assert len(groups) == (22 if depth[0] == "A" else 28)
    assert set(groups[2:-1:2]) == {int(depth[3:] or 1)}
    assert set(groups[1::2]) == {1}


def test_the_last_stride_may_be_2() -> None:
    spec = _make_spec("A0", 2)
    network = fastrt.build_network(spec, make_shapes(spec))
    assert network["backbone.stage4.0.nonlinearity"].shape == (1280, 2, 1)


def test_both_forms_become_one_convolution_per_block() -> None:
    spec = _make_spec("A0")
    arrays = draw_weights(spec)
    rng = np.random.default_rng(1)
    for name, array in arrays.items():
        if re.search(r"(bn|identity)\.(weight|bias|running_mean)$", name):
            arrays[name] = (array + rng.normal(0, 0.1, array.shape)).astype(np.float32)
    network = fastrt.build_network(spec, arrays)
    prepared = prepare(network, INFO)
    kinds = [tensor.operation.kind for tensor in prepared]
    assert kinds.count("convolution") == kinds.count("relu") == sum(VARIANTS["A0"].blocks) == 22
    assert "add" not in kinds
    deployed = {name: array for name, array in arrays.items() if name.startswith("heads.")}
    for tensor in simplify(network):
        if isinstance(tensor.operation, Convolution):
            name = tensor.name.removesuffix(".sum")
            assert tensor.operation.bias is not None
            deployed |= {f"{name}.fused_weight": tensor.operation.weight, f"{name}.fused_bias": tensor.operation.bias}
    assert fastrt.guess_spec(deployed).spec.backbone == spec.backbone
    again = fastrt.build_network(spec, deployed)
    assert prepare(again, INFO).fingerprint() == prepared.fingerprint()
    with pytest.raises(fastrt.WeightsError, match="missing, first backbone.stage3.7.fused_bias"):
        fastrt.build_network(spec, {n: a for n, a in deployed.items() if n != "backbone.stage3.7.fused_bias"})


def test_int8_computes_the_merged_convolutions(tmp_path: Path) -> None:
    spec = _make_spec("A0").replace(image_size=(32, 32))
    network = fastrt.build_network(spec, draw_weights(spec))
    images = [draw_person(i, 0, 32, 32) for i in range(8)]
    table = fastrt.calibrate(network, images, "minmax")
    read = [f"{block.name}.nonlinearity" for block in RepVGG(depth="A0").list_blocks()][:-1]
    assert list(table.ranges) == ["images.standardised", *read]
    report = fastrt.build(
        network, tmp_path / "int8.xml", precision="int8", table=table, kept=("backbone.stage1.0.sum",)
    )
    assert report.checks is not None
    assert [check.name for check in report.checks.checks if check.name == "int8"]


def test_a_config_without_a_depth_of_the_family_is_refused() -> None:
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is missing, expected 'A0', "):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": NAME})
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is '50x', expected 'A0', .* or 'B3g4'\."):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": NAME, "MODEL.BACKBONE.DEPTH": "50x"})

"""Files written by commit 9126b28, whose specs are flat: a backbone's settings are top-level."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors

import fastrt
from fastrt.models.backbones.resnet import ResNet

FOLDER = Path(__file__).parent / "flat_specs"
SPECS = json.loads((FOLDER / "specs.json").read_text())
OLD = fastrt.ModelSpec(
    backbone=ResNet(name="build_resnet_backbone_distill", depth="34x", with_ibn=True, last_stride=2, maxpool="pad1"),
    image_size=(32, 16),
)
"""The spec in all engines; their network is a smaller one."""


@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_an_old_engine_gives_the_same_embeddings(suffix: str) -> None:
    with np.load(FOLDER / "embeddings.npz") as stored:
        images, wanted = stored["images"], stored[suffix[1:]]
    path = FOLDER / f"old{suffix}"
    with fastrt.load(path) as session:
        assert np.allclose(session(images), wanted, rtol=0, atol=1e-6)
        info = session.info
    assert info.spec is not None
    assert info.spec["depth"] == "34x"
    assert fastrt.ModelSpec(**info.spec) == fastrt.load_spec(info.spec) == OLD


def test_an_old_safetensors_spec_is_read() -> None:
    with safetensors.safe_open(FOLDER / "old.safetensors", "np") as file:
        text = file.metadata()["fastrt.spec"]
    assert fastrt.load_spec(json.loads(text)) == OLD
    assert fastrt.load_spec(json.loads(text), ["MODEL.BACKBONE.DEPTH", 50, "last_stride", 1]) == OLD.replace(
        depth="50x", last_stride=1
    )


@pytest.mark.parametrize("name", SPECS)
def test_a_flat_spec_is_nested_and_loses_nothing(name: str) -> None:
    flat = SPECS[name]
    spec = fastrt.load_spec(flat)
    nested = spec.model_dump(mode="json")
    backbone = nested.pop("backbone")
    assert {**nested, **backbone, "backbone": backbone.pop("name")}.items() >= flat.items()
    assert fastrt.ModelSpec(**spec.model_dump(mode="json")) == spec
    if name in fastrt.preset_names():
        assert spec == fastrt.load_spec(name)


def test_a_backbone_is_given_in_three_ways() -> None:
    wanted = fastrt.ModelSpec(depth="34x", with_ibn=True)
    assert fastrt.ModelSpec(backbone={"depth": "34x", "with_ibn": True}) == wanted
    assert fastrt.ModelSpec(backbone=ResNet(depth="34x"), with_ibn=True) == wanted
    assert wanted.replace(backbone="build_resnet_backbone_distill").backbone == ResNet(
        name="build_resnet_backbone_distill", depth="34x", with_ibn=True
    )
    assert fastrt.ModelSpec().backbone == ResNet()


def test_all_errors_of_a_spec_are_named() -> None:
    with pytest.raises(fastrt.SpecError) as caught:
        fastrt.ModelSpec(depth="60x", pool_layer="Median", width=3)
    assert str(caught.value) == (
        "spec: depth is '60x', expected '18x', '34x', '50x', '101x' or '152x'; width is an unknown key,"
        f" expected {', '.join([*fastrt.ModelSpec.model_fields, *list(ResNet.model_fields)[1:]])}; pool_layer is"
        " 'Median', expected 'Identity', 'Flatten', 'GlobalAvgPool', 'FastGlobalAvgPool', 'GlobalMaxPool',"
        " 'GeneralizedMeanPooling', 'GeneralizedMeanPoolingP', 'AdaptiveAvgMaxPool' or 'ClipGlobalAvgPool'. Correct the"
        " config."
    )
    with pytest.raises(fastrt.SpecError, match="^spec: backbone is 3, expected 'build_resnet_backbone', "):
        fastrt.ModelSpec(backbone=3)


def test_a_vits_key_is_named_as_ignored_by_a_resnet(caplog: pytest.LogCaptureFixture) -> None:
    fastrt.load_spec({"MODEL": {"BACKBONE": {"STRIDE_SIZE": [16, 16], "SIE_COE": 3.0}}})
    assert not caplog.messages
    fastrt.load_spec({"MODEL": {"BACKBONE": {"STRIDE_SIZE": [12, 12]}}})
    assert caplog.messages == [
        "MODEL.BACKBONE.STRIDE_SIZE is [12, 12]; FastReID's ResNet ignores this key, and so does fastrt"
    ]

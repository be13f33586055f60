from __future__ import annotations

import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.models.backbones.resnext import ResNeXt
from fastrt.models.backbones.table import list_families
from fastrt.models.versions import migrate
from shapes import make_shapes

BASE = fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_resnext_backbone", "INPUT.SIZE_TEST": [64, 32]})


def _spec(**values: object) -> fastrt.ModelSpec:
    return BASE.replace(backbone=BASE.backbone.replace(**values))


@pytest.mark.parametrize("depth", ["50x", "101x"])
@pytest.mark.parametrize("variants", [{}, {"with_ibn": True, "with_nl": True}])
@pytest.mark.parametrize("last_stride", [1, 2])
def test_its_depths_are_built_and_recognised(depth: str, variants: dict[str, bool], last_stride: int) -> None:
    spec = _spec(depth=depth, last_stride=last_stride, **variants)
    arrays = make_shapes(spec)
    network = fastrt.build_network(spec, arrays)
    assert network["backbone.layer4.2.relu"].shape == (2048, 4 // last_stride, 2 // last_stride)
    convolution = network["backbone.layer3.0.conv2"].operation
    assert convolution.attributes()["groups"] == 32
    assert convolution.arrays()["weight"].shape == (512, 16, 3, 3)
    flat = {name: array.reshape(-1) for name, array in arrays.items()}
    for stored in (arrays, flat):
        found = [backbone for family in list_families() if (backbone := family.recognise(stored)) is not None]
        assert found == [ResNeXt(depth=depth, **variants)]


def test_its_last_three_blocks_of_layer3_have_non_local_blocks_in_each_depth() -> None:
    for depth, last in (("50x", 5), ("101x", 22)):
        spec = _spec(depth=depth, with_nl=True)
        network = fastrt.build_network(spec, make_shapes(spec))
        assert [tensor.name for tensor in network if tensor.name.endswith(".W.1")] == [
            f"backbone.NL_{name}.W.1" for name in ("2.0", "2.1", "3.0", "3.1", "3.2")
        ]
        assert network["backbone.NL_3.0.g"].inputs == (f"backbone.layer3.{last - 2}.relu",)


@pytest.mark.parametrize("depth", ["152x", "152", 152])
def test_a_depth_that_fastreid_cannot_build_is_refused(depth: object) -> None:
    with pytest.raises(
        fastrt.SpecError,
        match=r"^spec: depth is '?152x?'?, expected '50x' or '101x', as FastReID itself cannot build a ResNeXt 152\. ",
    ):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_resnext_backbone", "MODEL.BACKBONE.DEPTH": depth})
    with pytest.raises(fastrt.SpecError, match=r"^spec: depth is '34x', expected '50x' or '101x'\. Correct the config"):
        fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_resnext_backbone", "MODEL.BACKBONE.DEPTH": "34x"})


def _age(arrays: dict[str, Array]) -> dict[str, Array]:
    old = {name.replace("heads.bottleneck.0.", "heads.bnneck."): array for name, array in arrays.items()}
    old["heads.classifier.weight"] = old.pop("heads.weight")
    return old


def test_an_old_checkpoint_without_non_local_blocks_gets_none(caplog: pytest.LogCaptureFixture) -> None:
    arrays = _age(make_shapes(_spec()))
    spec, _ = migrate(_spec(with_nl=True), arrays)
    assert spec.backbone == ResNeXt()
    assert any("none are built, as in FastReID's ResNeXt before 2020-09-01" in note for note in caplog.messages)
    with pytest.raises(fastrt.WeightsError, match=r"backbone\.NL_2\.0\.g\.weight"):
        fastrt.build_network(_spec(with_nl=True), make_shapes(_spec()))


def test_an_old_layer4_has_no_ibn(caplog: pytest.LogCaptureFixture) -> None:
    spec, plain = _spec(with_ibn=True), make_shapes(_spec())
    arrays = {name: array for name, array in make_shapes(spec).items() if not name.startswith("backbone.layer4.")}
    arrays |= {name: array for name, array in plain.items() if name.startswith("backbone.layer4.")}
    network = fastrt.build_network(spec, _age(arrays))
    norms = [tensor.name for tensor in network if tensor.operation.kind == "instance_norm"]
    assert len(norms) == 13
    assert not any(name.startswith("backbone.layer4.") for name in norms)
    assert any(note.startswith("layer4 has no IBN-a") for note in caplog.messages)
    del arrays["backbone.layer3.0.bn1.IN.weight"]
    with pytest.raises(fastrt.WeightsError, match=r"backbone\.layer3\.0\.bn1\.IN\.weight"):
        fastrt.build_network(spec, arrays)

from __future__ import annotations

import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.models.backbones.resnest import BLOCKS, ResNeSt
from fastrt.models.backbones.table import list_families
from fastrt.models.versions import migrate
from fastrt.passes import prepare
from fastrt.targets.engine_info import EngineInfo
from fastrt.testing.untrained import draw_weights
from shapes import make_shapes

BASE = fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_resnest_backbone", "INPUT.SIZE_TEST": [64, 32]})
OLD = {"layer4": "undilated"}


def _spec(**values: object) -> fastrt.ModelSpec:
    return BASE.replace(backbone=BASE.backbone.replace(**values))


def _age(arrays: dict[str, Array], version: str) -> dict[str, Array]:
    old = dict(arrays)
    if version != "C":
        old["heads.classifier.weight"] = old.pop("heads.weight")
    if version == "A":
        old = {name.replace("heads.bottleneck.0.", "heads.bnneck."): array for name, array in old.items()}
    if version == "?":
        del old["heads.classifier.weight"]
    return old


def _settle(spec: fastrt.ModelSpec, arrays: dict[str, Array]) -> ResNeSt:
    backbone = migrate(spec.replace(with_bnneck=True), arrays)[0].backbone
    assert isinstance(backbone, ResNeSt)
    return backbone


@pytest.mark.parametrize("depth", BLOCKS)
@pytest.mark.parametrize("last_stride", [1, 2])
def test_its_depths_are_built_and_recognised(depth: str, last_stride: int) -> None:
    spec = _spec(depth=depth, last_stride=last_stride)
    arrays = make_shapes(spec)
    network = fastrt.build_network(spec, arrays)
    last = f"backbone.layer4.{BLOCKS[depth][3] - 1}"
    assert network[f"{last}.relu"].shape == (2048, 4 // last_stride, 2 // last_stride)
    assert network["backbone.conv1.0"].shape[0] == (32 if depth == "50x" else 64)
    first, second = (network[f"backbone.layer4.{i}.conv2.conv"].operation.attributes() for i in (0, 1))
    assert "dilation" not in first
    assert (second.get("dilation"), second["padding"]) == ((2, 2) if last_stride == 1 else (None, 1))
    flat = {name: array.reshape(-1) for name, array in arrays.items()}
    for stored in (arrays, flat):
        found = [backbone for family in list_families() if (backbone := family.recognise(stored)) is not None]
        assert found == [ResNeSt(depth=depth)]


def test_average_pools_have_the_strides() -> None:
    network = fastrt.build_network(_spec(), make_shapes(_spec()))
    pools = {
        tensor.name: tensor.operation.attributes() for tensor in network if tensor.operation.kind == "average_pool"
    }
    smooth = {"kernel": 3, "padding": 1, "ceil": False, "counted": True}
    shortcut = {"kernel": 2, "stride": 2, "padding": 0, "ceil": True, "counted": False}
    assert pools == {
        "backbone.layer2.0.avd_layer": {**smooth, "stride": 2},
        "backbone.layer2.0.downsample.0": shortcut,
        "backbone.layer3.0.avd_layer": {**smooth, "stride": 2},
        "backbone.layer3.0.downsample.0": shortcut,
        "backbone.layer4.0.avd_layer": {**smooth, "stride": 1},
    }


def test_every_batch_norm_folds_and_no_map_is_sliced() -> None:
    network = fastrt.build_network(_spec(), make_shapes(_spec()))
    info = EngineInfo(target="openvino", io="f32_nchw_rgb", image_size=(64, 32), embedding_dim=2048)
    prepared = prepare(network, info, split=True)
    kinds = [(tensor.operation.kind, tensor.name) for tensor in prepared]
    assert [name for kind, name in kinds if kind == "scale_shift"] == ["images.standardised", "heads.bottleneck.0"]
    assert "slice" not in dict(kinds)
    assert not any("groups" in tensor.operation.attributes() for tensor in prepared)


@pytest.mark.parametrize(
    ("key", "value", "taken"), [("WITH_NL", True, False), ("WITH_IBN", True, False), ("LAST_STRIDE", 4, 2)]
)
def test_keys_that_fastreid_ignores_are_named_once(
    key: str, value: object, taken: object, caplog: pytest.LogCaptureFixture
) -> None:
    spec = fastrt.load_spec(
        {
            "MODEL.BACKBONE.NAME": "build_resnest_backbone",
            f"MODEL.BACKBONE.{key}": value,
            "MODEL.HEADS.WITH_BNNECK": True,
            "INPUT.SIZE_TEST": [64, 32],
        }
    )
    plain = _spec(last_stride=2 if key == "LAST_STRIDE" else 1)
    arrays = make_shapes(plain)
    network = fastrt.build_network(spec, arrays)
    assert caplog.messages == [
        f"{key} is {value}; FastReID's ResNeSt since 2020-12-07 takes it as {taken}, and so does fastrt"
    ]
    assert network.fingerprint() == fastrt.build_network(plain, arrays).fingerprint()


@pytest.mark.parametrize(
    ("version", "stored", "layer4", "note"),
    [
        ("A", {}, "undilated", "layer4 is undilated, as in FastReID before 2020-12-07"),
        ("A", {"with_nl": True}, "undilated", "layer4 is undilated, as in FastReID before 2020-12-07"),
        ("B", {"with_nl": True}, "undilated", "layer4 is undilated, as in FastReID before 2020-12-07"),
        ("B", {"with_ibn": True}, "undilated", "layer4 is undilated, as in FastReID before 2020-12-07"),
        ("?", {"with_nl": True}, "undilated", "layer4 is undilated, as in FastReID before 2020-12-07"),
        ("B", {}, "dilated", "is older than 2021-03-23, and its names do not show"),
        ("?", {}, "dilated", "has no classifier, and its names do not show"),
        ("C", {}, "dilated", None),
    ],
)
def test_the_dilation_is_that_of_the_version(
    version: str, stored: dict[str, bool], layer4: str, note: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    arrays = _age(make_shapes(_spec(**OLD, **stored)), version)
    assert _settle(_spec(**stored), arrays) == ResNeSt(layer4=layer4, **stored)
    notes = [message for message in caplog.messages if "layer4" in message]
    assert [note in message for message in notes if note is not None] == [True] * (note is not None)
    assert len(notes) == (note is not None)


@pytest.mark.parametrize("version", ["B", "?"])
def test_a_config_with_non_local_blocks_shows_that_their_absence_is_recent(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    arrays = _age(make_shapes(_spec()), version)
    assert _settle(_spec(with_nl=True), arrays) == ResNeSt(layer4="dilated")
    assert [message.split(";")[0] for message in caplog.messages if "layer4" in message or "NL" in message] == [
        "WITH_NL is True"
    ]


@pytest.mark.parametrize("version", ["B", "?"])
def test_with_last_stride_2_the_dilation_does_not_matter(version: str, caplog: pytest.LogCaptureFixture) -> None:
    _settle(_spec(last_stride=2), _age(make_shapes(_spec(last_stride=2)), version))
    assert not any("layer4" in message for message in caplog.messages)


def test_an_explicit_dilation_is_used() -> None:
    arrays = make_shapes(_spec())
    assert _settle(_spec(layer4="undilated", last_stride=4), _age(arrays, "C")).last_stride == 4
    assert _settle(_spec(layer4="dilated"), _age(arrays, "A")).layer4 == "dilated"
    spec = fastrt.load_spec(
        {"MODEL.BACKBONE.NAME": "build_resnest_backbone", "INPUT.SIZE_TEST": [64, 32]},
        ["MODEL.BACKBONE.LAYER4", "undilated"],
    )
    network = fastrt.build_network(spec, arrays)
    assert not any("dilation" in tensor.operation.attributes() for tensor in network)


def test_an_old_one_has_its_variants() -> None:
    spec = _spec(**OLD, with_ibn=True, with_nl=True, last_stride=4)
    network = fastrt.build_network(spec, make_shapes(spec))
    names = {tensor.name for tensor in network}
    assert {"backbone.layer1.0.bn1.IN", "backbone.layer4.0.bn1.IN", "backbone.NL_2.1", "backbone.NL_3.2"} <= names
    assert network["backbone.layer4.2.relu"].shape == (2048, 1, 1)


def test_calibration_reads_the_maps_that_engines_halve() -> None:
    spec = _spec().replace(image_size=(32, 32))
    network = fastrt.build_network(spec, draw_weights(spec))
    table = fastrt.calibrate(network, [draw_person(0, 0, 32, 32)], "minmax")
    assert len(table.means["backbone.layer2.1.relu1"]) == 128

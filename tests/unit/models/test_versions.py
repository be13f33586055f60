from __future__ import annotations

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.models.backbones.resnet import ResNet
from fastrt.models.versions import migrate, recognise_version
from shapes import make_shapes

SPEC = fastrt.ModelSpec(depth="50x", with_nl=True, image_size=(32, 32))
MODERN = make_shapes(SPEC)


def _arrays(version: str, non_local: bool = True) -> dict[str, Array]:
    arrays = {name: array for name, array in MODERN.items() if non_local or ".NL_" not in name}
    if version != "C":
        arrays["heads.classifier.weight"] = arrays.pop("heads.weight")
    if version == "A":
        neck = "heads.bottleneck.0."
        arrays = {name.replace(neck, "heads.bnneck."): array for name, array in arrays.items()}
    if version == "?":
        del arrays["heads.classifier.weight"]
    return arrays


def _resnet(spec: fastrt.ModelSpec) -> ResNet:
    assert isinstance(spec.backbone, ResNet)
    return spec.backbone


@pytest.mark.parametrize("version", ["A", "B", "C", "?"])
def test_names_show_the_version(version: str) -> None:
    assert recognise_version(SPEC, _arrays(version)) == version


@pytest.mark.parametrize(
    ("version", "non_local", "maxpool", "note"),
    [
        ("A", True, "pad1", "max pooling is padded by one (pad1)"),
        ("B", True, "ceil", None),
        ("B", False, "ceil", "its names do not show whether max pooling was padded"),
        ("C", False, "ceil", None),
        ("?", True, "ceil", "has no classifier, so its version is unknown"),
    ],
)
def test_the_max_pooling_is_that_of_the_version(
    version: str, non_local: bool, maxpool: str, note: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    spec, _ = migrate(SPEC.replace(with_nl=non_local, with_bnneck=True), _arrays(version, non_local))
    assert _resnet(spec).maxpool == maxpool
    about_padding = [message for message in caplog.messages if "max pool" in message]
    assert len(about_padding) == (note is not None)
    assert note is None or note in about_padding[0]


@pytest.mark.parametrize("version", ["A", "B", "C"])
def test_an_explicit_max_pooling_is_used(version: str) -> None:
    for maxpool in ("ceil", "pad1"):
        assert _resnet(migrate(SPEC.replace(maxpool=maxpool), _arrays(version))[0]).maxpool == maxpool


def test_a_neck_without_its_batch_norm_leaves_the_version_open(caplog: pytest.LogCaptureFixture) -> None:
    arrays = {name: array for name, array in _arrays("B").items() if not name.startswith("heads.bottleneck")}
    migrate(SPEC.replace(with_bnneck=False), arrays)
    assert any("names do not show whether max pooling was padded" in note for note in caplog.messages)


def test_a_wide_non_local_block_is_of_autumn_2020() -> None:
    arrays = _arrays("B")
    for name in [name for name in arrays if ".NL_" in name and name.split(".")[3] in ("g", "theta", "phi", "W")]:
        part = name.split(".", 3)[3]
        channels = 512 if "NL_2" in name else 1024
        shapes = {"weight": (channels // 2, channels, 1, 1), "bias": (channels // 2,)}
        if part.startswith(("g.", "theta.", "phi.")):
            arrays[name] = np.full(shapes[part.split(".")[1]], 0.01, np.float32)
        elif part == "W.0.weight":
            arrays[name] = np.full((channels, channels // 2, 1, 1), 0.01, np.float32)
    spec, _ = migrate(SPEC.replace(with_bnneck=True), arrays)
    assert _resnet(spec).maxpool == "pad1"
    network = fastrt.build_network(SPEC, arrays)
    assert network["backbone.NL_2.0.g"].shape[0] == 256


def test_an_old_neck_is_renamed_and_changes_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    spec = SPEC.replace(maxpool="ceil")
    old, new = (fastrt.build_network(spec, _arrays(version)) for version in ("A", "C"))
    assert old.fingerprint() == new.fingerprint()
    assert any("heads.bnneck is read as heads.bottleneck.0" in note for note in caplog.messages)


def test_a_stored_exponent_is_used_whatever_the_config_says(caplog: pytest.LogCaptureFixture) -> None:
    arrays = {**_arrays("C"), "heads.pool_layer.p": np.array([4.5], np.float32)}
    network = fastrt.build_network(SPEC.replace(pool_layer="GeneralizedMeanPooling"), arrays)
    assert network["heads.pool_layer.power"].operation.attributes() == {"exponent": 4.5}
    assert any("GeneralizedMeanPoolingP instead of" in note for note in caplog.messages)


def test_the_checkpoints_pixel_values_win(caplog: pytest.LogCaptureFixture) -> None:
    arrays = {**_arrays("B"), "pixel_mean": np.full((1, 3, 1, 1), 120, np.float32)}
    spec, _ = migrate(SPEC, arrays)
    assert spec.pixel_mean == pytest.approx((120.0, 120.0, 120.0))
    assert any("pixel_mean is" in note for note in caplog.messages)
    with pytest.raises(fastrt.WeightsError, match="pixel_std: shape"):
        migrate(SPEC, {**arrays, "pixel_std": np.ones(2, np.float32)})


def test_a_reduction_head_has_its_leaky_relu() -> None:
    spec = fastrt.load_spec({"MODEL": {"HEADS": {"NAME": "ReductionHead", "REDUCTION_DIM": 8}}})
    spec = spec.replace(image_size=(32, 32), depth="18x")
    arrays = make_shapes(fastrt.ModelSpec(depth="18x", image_size=(32, 32), embedding_dim=8))
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        arrays[f"heads.bnneck.{leaf}"] = np.full(8, 0.5, np.float32)
    network = fastrt.build_network(spec, arrays)
    kinds = [tensor.operation.kind for tensor in network if tensor.name.startswith("heads.b")]
    leaky_relu = ["scale_shift", "relu", "scale_shift", "relu", "add"]
    assert kinds == ["convolution", "scale_shift", *leaky_relu, "scale_shift"]


@pytest.mark.parametrize(("version", "treatment"), [("A", "ignored"), ("B", "applied"), ("C", "applied")])
def test_se_in_basic_blocks_was_stored_before_it_was_applied(
    version: str, treatment: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec = fastrt.ModelSpec(depth="18x", with_se=True)
    names: dict[str, Array] = {
        {"A": "heads.bnneck.weight", "B": "heads.classifier.weight", "C": "heads.weight"}[version]: np.ones(1)
    }
    spec, _ = migrate(spec, names)
    assert _resnet(spec).basic_block_se == treatment
    assert any("SE layers" in note for note in caplog.messages) == (version != "C")


def test_distill_honours_non_local_blocks_only_if_they_are_there(caplog: pytest.LogCaptureFixture) -> None:
    spec = SPEC.replace(backbone="build_resnet_backbone_distill")
    with_blocks = fastrt.build_network(spec.replace(with_nl=False), _arrays("C"))
    without = fastrt.build_network(spec, _arrays("C", non_local=False))
    assert "backbone.NL_3.2" in {tensor.name for tensor in with_blocks}
    assert not any(".NL_" in tensor.name for tensor in without)
    assert any("they are built, as in FastRT" in note for note in caplog.messages)
    assert any("none are built, as in FastReID's distill ResNet" in note for note in caplog.messages)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fastrt
from fastrt.models.backbones.resnet import ResNet

MODERN = """\
_BASE_: Base-SBS.yml
MODEL:
  BACKBONE:
    WITH_IBN: True
DATASETS:
  NAMES: ("Market1501",)
OUTPUT_DIR: logs/market1501/sbs_R50-ibn
"""
BASE = """\
_BASE_: bases/Base-bagtricks.yml
MODEL:
  FREEZE_LAYERS: [ backbone ]
  BACKBONE:
    WITH_NL: True
  HEADS:
    NECK_FEAT: after
    POOL_LAYER: GeneralizedMeanPoolingP
    CLS_LAYER: CircleSoftmax
    SCALE: 64
  LOSSES:
    NAME: ("CrossEntropyLoss", "TripletLoss",)
INPUT:
  SIZE_TRAIN: [ 384, 128 ]
  SIZE_TEST: [ 384, 128 ]
"""
BASE_BASE = """\
MODEL:
  META_ARCHITECTURE: Baseline
  BACKBONE:
    NAME: build_resnet_backbone
    NORM: BN
    DEPTH: 50x
    LAST_STRIDE: 1
    FEAT_DIM: 2048
    WITH_IBN: False
    PRETRAIN: True
  HEADS:
    NAME: EmbeddingHead
    NORM: BN
    WITH_BNNECK: True
    POOL_LAYER: GlobalAvgPool
INPUT:
  SIZE_TEST: [ 256, 128 ]
"""


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "Base-bagtricks.yml").write_text(BASE_BASE)
    (tmp_path / "Base-SBS.yml").write_text(BASE)
    (tmp_path / "sbs_R50-ibn.yml").write_text(MODERN)
    return tmp_path


def test_bases_are_merged(configs: Path) -> None:
    spec = fastrt.load_spec(configs / "sbs_R50-ibn.yml")
    assert spec == fastrt.ModelSpec(
        depth="50x",
        with_ibn=True,
        with_nl=True,
        pool_layer="GeneralizedMeanPoolingP",
        with_bnneck=True,
        image_size=(384, 128),
    )


def test_overrides_are_applied_last(configs: Path) -> None:
    words = ["MODEL.BACKBONE.WITH_NL", "False", "INPUT.SIZE_TEST", "(256, 128)", "MODEL.PIXEL_MEAN", [127.5] * 3]
    spec = fastrt.load_spec(configs / "sbs_R50-ibn.yml", [*words, "maxpool", "pad1", "MODEL.BACKBONE.LAST_STRIDE", 2])
    assert isinstance(spec.backbone, ResNet)
    assert not spec.backbone.with_nl
    assert spec.image_size == (256, 128)
    assert spec.pixel_mean == (127.5, 127.5, 127.5)
    assert (spec.backbone.maxpool, spec.backbone.last_stride) == ("pad1", 2)


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"MODEL": {"BACKBONE": {"DEPTH": 50}}}, {"depth": "50x"}),
        ({"MODEL": {"BACKBONE": {"DEPTH": "101"}}}, {"depth": "101x"}),
        ({"MODEL": {"HEADS": {"POOL_LAYER": "avgmaxpool"}}}, {"pool_layer": "AdaptiveAvgMaxPool"}),
        ({"MODEL": {"HEADS": {"POOL_LAYER": "gempool"}}}, {"pool_layer": "GeneralizedMeanPooling"}),
        (
            {"MODEL": {"HEADS": {"NAME": "BNneckHead", "POOL_LAYER": "gempool", "REDUCTION_DIM": 256}}},
            {"head": "BNneckHead", "pool_layer": "GeneralizedMeanPoolingP", "embedding_dim": 0, "with_bnneck": True},
        ),
        (
            {"MODEL": {"HEADS": {"NAME": "ReductionHead", "REDUCTION_DIM": 256}}},
            {"head": "ReductionHead", "embedding_dim": 256, "with_bnneck": True},
        ),
        ({"MODEL": {"HEADS": {"NAME": "LinearHead"}}}, {"head": "LinearHead", "with_bnneck": False}),
        ({"MODEL": {"BACKBONE": {"NORM": "syncBN"}}, "INPUT": {"SIZE_TEST": "(256, 192)"}}, {"image_size": (256, 192)}),
        ({"MODEL.BACKBONE.WITH_SE": "true"}, {"with_se": True}),
        ({"depth": "34x", "image_size": [96, 64]}, {"depth": "34x", "image_size": (96, 64)}),
        ({}, {"depth": "50x", "with_bnneck": None, "maxpool": "auto"}),
    ],
)
def test_keys_of_every_version_are_read(config: dict[str, Any], fields: dict[str, object]) -> None:
    spec = fastrt.load_spec(config)
    assert {**dict(spec.backbone), **dict(spec)}.items() >= fields.items()


EXAMPLES = {
    "sbs_R50-ibn": ("build_resnet_backbone", "50x", True, True),
    "sbs_R50": ("build_resnet_backbone", "50x", False, True),
    "sbs_r34_distill": ("build_resnet_backbone_distill", "34x", False, False),
    "kd-r34-r101_ibn": ("build_resnet_backbone_distill", "34x", False, False),
    "kd-r18-r101_ibn": ("build_resnet_backbone_distill", "18x", True, False),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_presets_are_the_examples_of_fastrts_readme(name: str) -> None:
    spec = fastrt.load_spec(name)
    backbone = spec.backbone
    assert isinstance(backbone, ResNet)
    assert (backbone.name, backbone.depth, backbone.with_ibn, backbone.with_nl) == EXAMPLES[name]
    assert (spec.image_size, backbone.last_stride, spec.pool_layer) == ((384, 128), 1, "GeneralizedMeanPoolingP")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"MODEL": {"BACKBONE": {"NAME": "build_vgg_backbone"}}},
            "spec: backbone is 'build_vgg_backbone', expected",
        ),
        ({"MODEL": {"BACKBONE": {"DEPTH": "60x"}}}, "spec: depth is '60x', expected '18x', '34x', '50x'"),
        ({"MODEL": {"BACKBONE": {"NORM": "GN"}}}, "spec: norm is 'GN', expected 'BN'"),
        (
            {"MODEL": {"BACKBONE": {"WIDTH_IBN": True}}},
            "MODEL.BACKBONE.WIDTH_IBN: unknown key of ResNet; expected MODEL.BACKBONE.WITH_IBN. Correct or",
        ),
        ({"MODEL": {"META_ARCHITECTURE": "PCB"}}, "MODEL.META_ARCHITECTURE: 'PCB'; expected 'Baseline', 'MGN',"),
        ({"INPUT": {"CROP": {"ENABLED": True}}}, "INPUT.CROP.ENABLED: True; expected False, as images are resized"),
        ({"INPUT": {"SIZE_TEST": [384]}}, "spec: image_size is [384], expected two numbers: [height, width]"),
        ({"INPUT": {"SIZE_TEST": [0, 128]}}, "spec: image_size.0 is 0, expected greater than or equal to 1"),
        ({"MODEL": {"PIXEL_STD": [1, 0, 1]}}, "spec: pixel_std.1 is 0, expected greater than 0"),
        ({"MODEL": {"PIXEL_MEAN": [1, float("nan"), 1]}}, "spec: pixel_mean.1 is nan, expected a finite number"),
    ],
)
def test_an_unsupported_config_is_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(fastrt.SpecError) as caught:
        fastrt.load_spec(config)
    assert str(caught.value).startswith(sentence)


FILES = {
    "loop.yml": (
        b"_BASE_: loop.yml",
        "_BASE_ leads to over 16 files; expected fewer. Check that no file is its own base.",
    ),
    "lost.yml": (b"_BASE_: nowhere.yml", "lost.yml: _BASE_ nowhere.yml does not exist; expected the file. Copy it too"),
    "number.yml": (b"_BASE_: 3", "number.yml: _BASE_ is 3; expected the path of a file"),
    "broken.yml": (b"MODEL: [", "broken.yml: is not YAML ("),
    "alias.yml": (b"a: &a [*a]", "its aliases (*name) make over 100000 values"),
    "object.yml": (b"!!python/object/apply:os.system [ls]", "line 1: the tag tag:yaml.org,2002:python/object/apply:"),
    "list.yml": (b"- 1", "list.yml: no keys; expected a YAML file of FastReID"),
    "empty.yml": (b"", "empty.yml: no keys"),
    "binary.yml": (b"\x80\x02\x00", "binary.yml: is not text"),
    "huge.yml": (b"#" * ((1 << 20) + 1), "bytes; expected a config, up to 65536. Check that it is not a checkpoint."),
    "deep.yml": (b"[" * 20_000, "deep.yml: is not YAML ("),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_a_config_is_refused(name: str, tmp_path: Path) -> None:
    content, sentence = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(fastrt.SpecError) as caught:
        fastrt.load_spec(tmp_path / name)
    assert sentence in str(caught.value)


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        fastrt.SpecError, match="nope: does not exist; expected a YAML file of FastReID or a preset .AGW_"
    ):
        fastrt.load_spec("nope")
    with pytest.raises(fastrt.SpecError, match="is a folder; expected a YAML file"):
        fastrt.load_spec(tmp_path)
    with pytest.raises(fastrt.SpecError, match="overrides: 1 words; expected pairs"):
        fastrt.load_spec(None, ["KEY"])


@pytest.mark.parametrize("keys", [["MODEL.HEADS.POOL_LAYER", "GlobalMaxPool"], ["MODEL.HEADS.WITH_BNNECK", True]])
def test_torchreids_head_has_no_other_pooling_or_neck(keys: list[object]) -> None:
    spec = fastrt.load_spec({"torchreid.model": "osnet_x0_25"}, [*keys, "INPUT.SIZE_TEST", [64, 32]])
    with pytest.raises(fastrt.SpecError, match="TorchreidHead: pool_layer .*; expected GlobalAvgPool and False"):
        fastrt.build_network(spec, {})

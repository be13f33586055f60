"""A new family of backbones is one class and one row: read, recognised, migrated, built, quantized."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, Relu
from fastrt.models.backbones.base import Backbone, logger
from fastrt.models.backbones.table import BACKBONES
from fastrt.models.layers import batch_norm, convolve
from fastrt.targets.engine_info import Precision
from fastrt.testing.untrained import draw_weights

if TYPE_CHECKING:
    from typing_extensions import Self

CONFIG = """\
MODEL:
  BACKBONE:
    NAME: build_toy_backbone
    DEPTH: 2x
    LAST_STRIDE: 2
    FEAT_DIM: 32
    WITH_NL: False
  HEADS:
    WITH_BNNECK: True
INPUT:
  SIZE_TEST: [64, 32]
"""


class Toy(Backbone):
    """Blocks of a convolution, a batch norm and a shortcut."""

    FAMILY: ClassVar[str] = "Toy"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth", "LAST_STRIDE": "last_stride"}

    name: Literal["build_toy_backbone"] = "build_toy_backbone"
    depth: Literal["1x", "2x"] = "1x"
    last_stride: Literal[1, 2] = 1

    @property
    def title(self) -> str:
        return f"toy {self.depth}"

    @property
    def channels(self) -> int:
        return 32

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        if "backbone.toy1.conv.weight" in arrays:
            return cls(depth="2x" if "backbone.toy2.conv.weight" in arrays else "1x", last_stride=2)
        return None

    def migrate(self, arrays: Mapping[str, Array], version: str) -> tuple[Backbone, Mapping[str, Array]]:
        if any(".old_toy" in name for name in arrays):
            logger.warning(f"an old toy of version {version}")
        return self, {name.replace(".old_toy", ".toy"): array for name, array in arrays.items()}

    def build(self, b: Builder, x: Tensor) -> Tensor:
        x = convolve(b, x, "backbone.stem", 32, 3, stride=2, padding=1)
        for i in range(1, int(self.depth[0]) + 1):
            y = batch_norm(b, convolve(b, x, f"backbone.toy{i}.conv", 32, 3, padding=1), f"backbone.toy{i}.bn")
            x = b.add(f"backbone.toy{i}.relu", Relu(), b.add(f"backbone.toy{i}", Add(), y, x))
        return convolve(b, x, "backbone.last", 32, 1, stride=self.last_stride)


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "build_toy_backbone", Toy)


@pytest.fixture
def spec(tmp_path: Path) -> fastrt.ModelSpec:
    (tmp_path / "toy.yml").write_text(CONFIG)
    return fastrt.load_spec(tmp_path / "toy.yml")


def test_its_config_is_read(spec: fastrt.ModelSpec) -> None:
    assert spec.backbone == Toy(depth="2x", last_stride=2)
    assert spec.title == "toy 2x"
    assert fastrt.ModelSpec(**spec.model_dump(mode="json")) == spec
    assert fastrt.load_spec(spec.model_dump(mode="json"), ["MODEL.BACKBONE.DEPTH", "1x"]).backbone == Toy(last_stride=2)


def test_a_key_that_it_ignores_is_named(caplog: pytest.LogCaptureFixture) -> None:
    config = {"MODEL.BACKBONE.NAME": "build_toy_backbone", "MODEL.BACKBONE.WITH_NL": False}
    with caplog.at_level(logging.WARNING, "fastrt"):
        fastrt.load_spec(config)
        assert not caplog.messages
        fastrt.load_spec({**config, "MODEL.BACKBONE.WITH_NL": True})
    assert caplog.messages == ["MODEL.BACKBONE.WITH_NL is True; FastReID's Toy ignores this key, and so does fastrt"]


def test_a_key_or_value_that_it_does_not_know_is_refused() -> None:
    name = {"MODEL.BACKBONE.NAME": "build_toy_backbone"}
    with pytest.raises(fastrt.SpecError, match=r"^MODEL\.BACKBONE\.WITH_GN: unknown key of Toy; expected MODEL"):
        fastrt.load_spec({**name, "MODEL.BACKBONE.WITH_GN": True})
    with pytest.raises(
        fastrt.SpecError, match=r"^spec: norm is 'GN', .*; depth is '3x', expected '1x' or '2x'\. Correct the config\.$"
    ):
        fastrt.load_spec({**name, "MODEL.BACKBONE.DEPTH": "3x", "MODEL.BACKBONE.NORM": "GN"})
    with pytest.raises(
        fastrt.SpecError, match=r"^spec: with_ibn is an unknown key, expected .*, last_stride\. Correct the config\.$"
    ):
        fastrt.ModelSpec(backbone="build_toy_backbone", with_ibn=True)


def test_its_checkpoint_is_recognised_and_renamed(spec: fastrt.ModelSpec, caplog: pytest.LogCaptureFixture) -> None:
    arrays = draw_weights(spec)
    assert fastrt.guess_spec(arrays).spec.backbone == spec.backbone
    network = fastrt.build_network(spec, arrays)
    old = fastrt.build_network(spec, {name.replace(".toy", ".old_toy"): array for name, array in arrays.items()})
    assert old.fingerprint() == network.fingerprint()
    assert "an old toy of version C" in caplog.messages


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_it_is_built_for_every_target(
    suffix: str, precision: Precision, spec: fastrt.ModelSpec, tmp_path: Path
) -> None:
    network = fastrt.build_network(spec, draw_weights(spec))
    images = [draw_person(i, 0, 64, 32) for i in range(8)]
    table = fastrt.calibrate(network, images, "minmax") if precision == "int8" else None
    path = tmp_path / f"toy{suffix}"
    info = fastrt.build(network, path, precision=precision, table=table).info
    assert info.spec == spec.model_dump(mode="json")
    with fastrt.load(path) as session:
        embeddings = session(images)
        assert embeddings.shape == (8, 32)
        assert np.isfinite(embeddings).all()
        assert fastrt.verify(session, network, table=table)

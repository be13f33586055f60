"""Infers a spec from a checkpoint's names alone, with notes on the inferred and the assumed settings."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from fastrt.arrays import Array
from fastrt.errors import SpecError
from fastrt.models.backbones.base import GROUP, Backbone, count_blocks
from fastrt.models.backbones.table import BACKBONES, list_families
from fastrt.models.config import BACKBONE_NAMES, FIELDS
from fastrt.models.meta_architectures.base import MetaArchitecture
from fastrt.models.meta_architectures.table import META_ARCHITECTURES
from fastrt.models.spec import ModelSpec
from fastrt.signatures import checked


@dataclass(frozen=True)
class Guess:
    """A spec inferred from names.

    Attributes:
        spec: the model.
        assumed: the settings that names do not show, and their values in the spec, by FastReID's keys.
    """

    spec: ModelSpec
    assumed: Mapping[str, object]

    @property
    def determined(self) -> bool:
        """True if no setting has to be asked for: names or the family's library decide all of them."""
        return not self.assumed or type(self.spec.backbone).STANDARD_INPUT is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the inferred and the assumed settings."""
        inferred = (
            f"without a config, the spec is inferred from the checkpoint's names: {self.spec.title}, embedding_dim"
            f" {self.spec.embedding_dim}"
        )
        if not self.assumed:
            return (inferred,)
        library = type(self.spec.backbone).STANDARD_INPUT or "FastReID"
        return (
            inferred,
            (
                f"names do not show these settings, so {library}'s usual ones are assumed: {self.describe_assumed()};"
                " give --config, or --set KEY VALUE, if the model was trained differently"
            ),
        )

    def describe_assumed(self) -> str:
        """List the assumed settings: ``MODEL.BACKBONE.LAST_STRIDE 1, INPUT.SIZE_TEST [256,128]``."""
        return ", ".join(f"{key} {format_value(value)}" for key, value in self.assumed.items())

    def without(self, given: Collection[str]) -> Guess:
        """Return the guess without the assumptions whose keys are ``given``, as FastReID's keys or a spec's fields."""
        keys = type(self.spec.backbone).config_keys()
        assumed = {}
        for key, value in self.assumed.items():
            leaf = key.removeprefix(f"{GROUP}.")
            field = FIELDS.get(key) or keys[leaf]
            spellings = BACKBONE_NAMES if key in BACKBONE_NAMES else (key, field, f"backbone.{field}")
            if not any(spelling in given for spelling in spellings):
                assumed[key] = value
        return replace(self, assumed=assumed)


def format_value(value: object) -> str:
    """Format a value as one word of a command line: ``[256,128]``."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@checked(SpecError)
def guess_spec(arrays: Mapping[str, Array]) -> Guess:
    """Infer a checkpoint's model from its names.

    Names show the meta-architecture, the backbone's depth and variants, a learned pooling exponent, the head's
    convolution and batch norm. They do not show the image size, mean and standard deviation of the pixels, a pooling
    without parameters, or a ResNet's last stride and distill. The usual values of FastReID, or of torchreid, are
    assumed for these.

    Raises:
        SpecError: the names match no family of backbones.
    """
    meta = next((name for name, row in META_ARCHITECTURES.items() if row.recognise(arrays)), "Baseline")
    arrays = META_ARCHITECTURES[meta].view(arrays)
    backbone = _recognise(arrays)
    learned = "heads.pool_layer.p" in arrays
    non_local = any(name.startswith("backbone.NL_") for name in arrays)  # AGW has them, and uses this pooling
    pool = "GeneralizedMeanPoolingP" if learned else "GeneralizedMeanPooling" if non_local else "GlobalAvgPool"
    size = (384, 128) if learned else (256, 128)
    width = _find_embedding_dim(arrays, backbone)
    values: dict[str, object] = {"embedding_dim": width} if width else {}
    values = {**type(backbone).USUAL, **values}
    spec = ModelSpec(meta_architecture=meta, backbone=backbone, pool_layer=pool, image_size=size, **values)
    assumed = _list_assumed(META_ARCHITECTURES[meta], backbone)
    if not learned and spec.head != "TorchreidHead":  # torchreid's is always the mean
        assumed["MODEL.HEADS.POOL_LAYER"] = pool
    assumed["INPUT.SIZE_TEST"] = size
    assumed |= {
        f"MODEL.{name.upper()}": getattr(spec, name) for name in ("pixel_mean", "pixel_std") if name not in arrays
    }
    return Guess(spec, assumed)


def _find_embedding_dim(arrays: Mapping[str, Array], backbone: Backbone) -> int:
    """Infer the width of the head's convolution, or of torchreid's linear layer; 0 if there is none."""
    if "fc.0.bias" in arrays:
        return arrays["fc.0.bias"].size
    if "heads.bottleneck.0.weight" in arrays and "heads.bottleneck.0.running_mean" not in arrays:  # a convolution
        return arrays["heads.bottleneck.0.weight"].size // backbone.channels
    return 0


def _list_assumed(meta: MetaArchitecture, backbone: Backbone) -> dict[str, object]:
    """List the backbone's settings that its names do not show, by FastReID's keys."""
    family = type(backbone)
    builders = [
        name for name, row in BACKBONES.items() if row is family and not meta.refuse(backbone.replace(name=name))
    ]
    keys = {**({"NAME": "name"} if len(builders) > 1 else {}), **family.KEYS}
    values = {key: getattr(backbone, field) for key, field in keys.items() if key not in family.INFERRED}
    return {f"{GROUP}.{key}": value for key, value in values.items() if value != "auto"}  # auto: from the arrays


def _recognise(arrays: Mapping[str, Array]) -> Backbone:
    families = list_families()
    for family in families:
        if (backbone := family.recognise(arrays)) is not None:
            return backbone
    blocks = count_blocks(arrays)
    found = f"layers of {list(blocks)} blocks" if any(blocks) else f"names such as {next(iter(arrays), 'none')}"
    *others, last = [family.FAMILY for family in families]
    known = f"{', '.join(others)} or {last}"
    advice = "Give its config" if any(name.startswith("backbone.") for name in arrays) else "Use one of FastReID"
    raise SpecError(f"checkpoint: {found}; expected the names of FastReID's {known}. {advice}.")

"""Infers a spec from a checkpoint's names alone, with notes on the inferred and the assumed settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastrt.arrays import Array
from fastrt.errors import SpecError
from fastrt.models.backbones.base import Backbone, count_blocks
from fastrt.models.backbones.table import list_families
from fastrt.models.spec import ModelSpec


@dataclass(frozen=True)
class Guess:
    """A spec, with sentences on the inferred and the assumed settings."""

    spec: ModelSpec
    notes: tuple[str, ...]


def guess_spec(arrays: Mapping[str, Array]) -> Guess:
    """Infer a checkpoint's model from its names.

    Names show the backbone's depth and variants, a learned pooling exponent, the head's convolution and batch norm.
    They do not show the image size, a pooling without parameters, or a ResNet's last stride and distill. FastReID's
    usual values are assumed for these.

    Raises:
        SpecError: the names match no family of backbones.
    """
    backbone = _recognise(arrays)
    learned = "heads.pool_layer.p" in arrays
    non_local = any(name.startswith("backbone.NL_") for name in arrays)  # AGW has them, and uses this pooling
    pool = "GeneralizedMeanPoolingP" if learned else "GeneralizedMeanPooling" if non_local else "GlobalAvgPool"
    size = (384, 128) if learned else (256, 128)
    width = 0
    if "heads.bottleneck.0.weight" in arrays and "heads.bottleneck.0.running_mean" not in arrays:  # a convolution
        width = arrays["heads.bottleneck.0.weight"].size // backbone.channels
    spec = ModelSpec(backbone=backbone, pool_layer=pool, image_size=size, embedding_dim=width)
    assumed = [*backbone.assumptions, f"image_size {size[0]}x{size[1]}", *([] if learned else [f"pool_layer {pool}"])]
    notes = (
        f"without a config, the spec is inferred from the checkpoint's names: {spec.title}, embedding_dim {width}",
        (
            f"names do not show these settings, so FastReID's usual ones are assumed: {', '.join(assumed)};"
            " give --config, or --set KEY VALUE, if the model was trained differently"
        ),
    )
    return Guess(spec, notes)


def _recognise(arrays: Mapping[str, Array]) -> Backbone:
    families = list_families()
    for family in families:
        if (backbone := family.recognise(arrays)) is not None:
            return backbone
    blocks = count_blocks(arrays)
    found = f"layers of {list(blocks)} blocks" if any(blocks) else f"names such as {next(iter(arrays), 'none')}"
    known = " or ".join(family.FAMILY for family in families)
    raise SpecError(f"checkpoint: {found}; expected the names of FastReID's {known}. Give its config.")

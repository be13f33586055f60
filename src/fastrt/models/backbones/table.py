"""The backbones of fastrt, one row per FastReID builder."""

from __future__ import annotations

from fastrt.errors import SpecError
from fastrt.models.backbones.base import Backbone
from fastrt.models.backbones.resnest import ResNeSt
from fastrt.models.backbones.resnet import ResNet
from fastrt.models.backbones.resnext import ResNeXt
from fastrt.models.named import list_names

BACKBONES: dict[str, type[Backbone]] = {
    "build_resnet_backbone": ResNet,
    "build_resnet_backbone_distill": ResNet,
    "build_resnext_backbone": ResNeXt,
    "build_resnest_backbone": ResNeSt,
}
"""Families by ``MODEL.BACKBONE.NAME``. The first is FastReID's default."""

DEFAULT = "build_resnet_backbone"
"""FastReID's default for ``MODEL.BACKBONE.NAME``."""


def find_family(name: object) -> type[Backbone]:
    """Return the family of a ``MODEL.BACKBONE.NAME``.

    Raises:
        SpecError: the name is not in the table.
    """
    if not isinstance(name, str) or name not in BACKBONES:
        raise SpecError(f"spec: backbone is {name!r}, expected {list_names(BACKBONES)}")
    return BACKBONES[name]


def list_families() -> list[type[Backbone]]:
    """List each family once, in the table's order."""
    return list(dict.fromkeys(BACKBONES.values()))

"""The backbones of fastrt, one row per FastReID builder."""

from __future__ import annotations

from fastrt.models.backbones.base import Backbone
from fastrt.models.backbones.resnet import ResNet

BACKBONES: dict[str, type[Backbone]] = {
    "build_resnet_backbone": ResNet,
    "build_resnet_backbone_distill": ResNet,
}
"""Families by ``MODEL.BACKBONE.NAME``. The first is FastReID's default."""

DEFAULT = "build_resnet_backbone"
"""FastReID's default for ``MODEL.BACKBONE.NAME``."""


def list_families() -> list[type[Backbone]]:
    """List each family once, in the table's order."""
    return list(dict.fromkeys(BACKBONES.values()))

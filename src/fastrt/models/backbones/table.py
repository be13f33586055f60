"""The backbones of fastrt, one row per FastReID builder."""

from __future__ import annotations

from fastrt.errors import SpecError
from fastrt.models.backbones.base import Backbone
from fastrt.models.backbones.effnet import EfficientNet
from fastrt.models.backbones.mobilenetv2 import MobileNetV2
from fastrt.models.backbones.mobilenetv3 import MobileNetV3
from fastrt.models.backbones.osnet import OSNet
from fastrt.models.backbones.regnet import RegNet
from fastrt.models.backbones.repvgg import RepVGG
from fastrt.models.backbones.resnest import ResNeSt
from fastrt.models.backbones.resnet import ResNet
from fastrt.models.backbones.resnext import ResNeXt
from fastrt.models.backbones.shufflenetv2 import ShuffleNetV2
from fastrt.models.backbones.torchreid import MODELS as TORCHREID
from fastrt.models.backbones.torchreid import TorchreidOSNet
from fastrt.models.backbones.vit import ViT
from fastrt.models.named import list_names

BACKBONES: dict[str, type[Backbone]] = {
    "build_resnet_backbone": ResNet,
    "build_resnet_backbone_distill": ResNet,
    "build_osnet_backbone": OSNet,
    "build_resnext_backbone": ResNeXt,
    "build_resnest_backbone": ResNeSt,
    "build_vit_backbone": ViT,
    "build_regnet_backbone": RegNet,
    "build_effnet_backbone": EfficientNet,
    "build_repvgg_backbone": RepVGG,
    "build_mobilenetv2_backbone": MobileNetV2,
    "build_mobilenetv3_backbone": MobileNetV3,
    "build_shufflenetv2_backbone": ShuffleNetV2,
    **dict.fromkeys(TORCHREID, TorchreidOSNet),
}
"""Families by ``MODEL.BACKBONE.NAME``, or by torchreid's name of the model. The first is FastReID's default."""

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

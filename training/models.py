"""The models that are trained: a preset or None, FastReID's keys, and the highest learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from fastrt import ModelSpec
from fastrt.models.config import load_spec

SIZE = (256, 128)


@dataclass(frozen=True)
class Recipe:
    """A model, the highest learning rate and the weight decay of its training."""

    preset: str | None
    keys: tuple[object, ...]
    rate: float = 7e-4
    decay: float = 5e-4

    def describe(self) -> ModelSpec:
        """Return the model's spec, settled."""
        spec = load_spec(self.preset, [*self.keys, "INPUT.SIZE_TEST", list(SIZE), "MODEL.HEADS.WITH_BNNECK", "True"])
        return spec.replace(backbone=spec.backbone.settle())


def _backbone(name: str, depth: str, *keys: object) -> tuple[object, ...]:
    return ("MODEL.BACKBONE.NAME", f"build_{name}_backbone", "MODEL.BACKBONE.DEPTH", depth, *keys)


RECIPES = {
    "r18": Recipe("kd-r18-r101_ibn", ()),
    "osnet_x0_25": Recipe(None, _backbone("osnet", "x0_25"), rate=2e-3),
    "osnet_x1_0": Recipe(None, _backbone("osnet", "x1_0")),
    "s50": Recipe(None, _backbone("resnest", "50x", "MODEL.HEADS.POOL_LAYER", "GeneralizedMeanPooling"), rate=5e-4),
    "repvgg_a0": Recipe(None, _backbone("repvgg", "A0")),
    "vit_small": Recipe(
        None,
        (
            *_backbone("vit", "small", "MODEL.HEADS.POOL_LAYER", "Identity"),
            *("MODEL.PIXEL_MEAN", [127.5] * 3, "MODEL.PIXEL_STD", [127.5] * 3),
        ),
        rate=3e-4,
        decay=0.05,
    ),
}

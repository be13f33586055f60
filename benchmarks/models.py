"""The networks of the speed benchmarks: those of FastRT's own table, and more."""

from __future__ import annotations

from pathlib import Path

import fastrt
from fastrt.models.load import load_model
from fastrt.testing.untrained import draw_weights

SIZE = [256, 128]
"""Default ``(H, W)`` in pixels."""

MODELS: dict[str, tuple[str | None, list[object]]] = {
    "R34": (None, ["MODEL.BACKBONE.DEPTH", "34x"]),
    "R34-distill": ("sbs_r34_distill", []),
    "R50-NL-IBN": ("sbs_R50-ibn", []),
}
"""The networks of FastRT's table, with random weights."""

TALL, PLAIN, TRAINED = "R50-NL-IBN 384x128", "R50", "R18-distill, trained"
CHECKPOINT = Path(__file__).parent / "checkpoints" / "r18_distill.safetensors"
"""The checkpoint of `TRAINED`, trained as the demonstration's; only in the repository."""

MORE: dict[str, tuple[str | None, list[object]]] = {
    TALL: ("sbs_R50-ibn", ["INPUT.SIZE_TEST", [384, 128]]),
    PLAIN: (None, []),
}
"""Networks of individual benchmarks, with random weights."""


def _zoo(builder: str, depth: str, width: int, *keys: object) -> list[object]:
    return [
        *("MODEL.BACKBONE.NAME", f"build_{builder}_backbone", "MODEL.BACKBONE.DEPTH", depth),
        *("MODEL.BACKBONE.FEAT_DIM", width, "MODEL.HEADS.WITH_BNNECK", True, "INPUT.SIZE_TEST", SIZE, *keys),
    ]


ZOO: dict[str, list[object]] = {
    "S50": _zoo("resnest", "50x", 2048, "MODEL.HEADS.POOL_LAYER", "GeneralizedMeanPoolingP"),
    "OSNet x1_0": _zoo("osnet", "x1_0", 512),
    "OSNet x0_25": _zoo("osnet", "x0_25", 128),
    "MobileNetV2": _zoo("mobilenetv2", "1.0x", 1280),
    "RepVGG A0": _zoo("repvgg", "A0", 1280),
    "ViT base": _zoo(
        *("vit", "base", 768, "INPUT.SIZE_TRAIN", SIZE, "MODEL.HEADS.POOL_LAYER", "Identity"),
        *("MODEL.PIXEL_MEAN", [127.5] * 3, "MODEL.PIXEL_STD", [127.5] * 3),
    ),
    "MGN": _zoo(
        *("resnet", "50x", 2048, "MODEL.META_ARCHITECTURE", "MGN", "MODEL.BACKBONE.WITH_IBN", True),
        *("MODEL.HEADS.EMBEDDING_DIM", 256, "MODEL.HEADS.POOL_LAYER", "GeneralizedMeanPoolingP"),
    ),
}
"""FastReID's keys of other families, with random weights."""

TITLES = [*MODELS, *MORE, TRAINED, *ZOO]
"""All networks, in the order of tables."""


def describe(title: str) -> fastrt.Network:
    """Make a network of `TITLES`."""
    if title == TRAINED:
        return load_model(CHECKPOINT).network()
    preset, overrides = {**MODELS, **MORE}[title]
    spec = fastrt.load_spec(preset, ["INPUT.SIZE_TEST", SIZE, *overrides])
    return fastrt.build_network(spec, draw_weights(spec))

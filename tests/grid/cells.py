"""The families of models, and the precisions of each target: README's table, whose every cell is a test."""

from __future__ import annotations

from functools import cache

import numpy as np

import fastrt
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.testing.untrained import draw_weights

SIZE = [96, 32]
"""MGN cuts the feature map of the smallest possible image in three."""


def _of(builder: str, depth: str, *keys: object) -> list[object]:
    return ["MODEL.BACKBONE.NAME", f"build_{builder}_backbone", "MODEL.BACKBONE.DEPTH", depth, *keys]


FAMILIES: dict[str, list[object]] = {
    "ResNet 18 to 152": _of("resnet", "18x"),
    "the same with IBN-a, non-local blocks, squeeze-and-excitation": _of(
        *("resnet", "50x", "MODEL.BACKBONE.WITH_IBN", True, "MODEL.BACKBONE.WITH_NL", True),
        *("MODEL.BACKBONE.WITH_SE", True, "MODEL.HEADS.POOL_LAYER", "GeneralizedMeanPoolingP"),
    ),
    "the same of FastDistill": _of("resnet", "34x", "MODEL.BACKBONE.NAME", "build_resnet_backbone_distill"),
    "ResNeXt 50, 101": _of("resnext", "50x", "MODEL.BACKBONE.WITH_IBN", True),
    "ResNeSt 50 to 269": _of("resnest", "50x"),
    "OSNet x0_25 to x1_0, IBN": _of("osnet", "x0_5", "MODEL.BACKBONE.WITH_IBN", True),
    "OSNet of torchreid, IBN, AIN": ["torchreid.model", "osnet_ain_x0_5"],
    "MobileNetV2 0.1x to 1.0x": _of("mobilenetv2", "0.5x"),
    "MobileNetV3 Small, Large": _of("mobilenetv3", "Small"),
    "ShuffleNetV2 0.5x to 2.0x": _of("shufflenetv2", "0.5x"),
    "RegNet X, Y 200 to 6400": _of("regnet", "200y"),
    "EfficientNet b0 to b5": _of("effnet", "b0"),
    "RepVGG A0 to B3, g2, g4": _of("repvgg", "A0"),
    "ViT small, base": _of("vit", "small", "MODEL.HEADS.POOL_LAYER", "Identity"),
    "MGN with ResNet 50, 101": _of("resnet", "50x", "MODEL.META_ARCHITECTURE", "MGN", "MODEL.HEADS.EMBEDDING_DIM", 64),
}
"""Each family, and FastReID's keys of the model that is tested at a small image size."""

PRECISIONS = {
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "bf16", "int8"),
    "onnx": ("fp32", "int8"),
    "reference": ("fp32", "int8"),
}
"""Precisions of each target that the tests of the table prove."""

MISSING: dict[tuple[str, str, str], str] = {}
"""Empty cells by family, target and precision, and the reason."""

IMAGES = [draw_person(i, i % 2, *map(int, SIZE)) for i in range(6)]


def list_cells(*targets: str) -> list[tuple[str, str, str]]:
    """List the cells of the targets by family, target and precision."""
    cells = [
        (family, target, precision) for family in FAMILIES for target in targets for precision in PRECISIONS[target]
    ]
    return [cell for cell in cells if cell not in MISSING]


@cache
def make_network(family: str) -> fastrt.Network:
    """Make a family's network with drawn weights."""
    spec = fastrt.load_spec(None, ["INPUT.SIZE_TEST", SIZE, "MODEL.HEADS.WITH_BNNECK", True, *FAMILIES[family]])
    return fastrt.build_network(spec, draw_weights(spec))


@cache
def make_table(family: str) -> fastrt.CalibrationTable:
    """Calibrate a family's network."""
    return fastrt.calibrate(make_network(family), IMAGES, "minmax")


def to_planes(images: list[Array]) -> Array:
    """Return images as the network takes them: ``(n, 3, H, W)`` float32 RGB."""
    return np.stack(images)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


def format_table() -> str:
    """Format README's table: a family a row, a target a column, and in each cell its precisions."""
    lines = [f"| model | {' | '.join(PRECISIONS)} |", "|---" * (len(PRECISIONS) + 1) + "|"]
    for family in FAMILIES:
        shown = (
            " ".join(p for p in precisions if (family, target, p) not in MISSING)
            for target, precisions in PRECISIONS.items()
        )
        lines.append(f"| {family} | {' | '.join(shown)} |")
    reasons = [f"No {p} of {family} on {target}: {reason}." for (family, target, p), reason in MISSING.items()]
    return "\n".join([*lines, *(["", *reasons] if reasons else [])])

"""The families of models, and the precisions of each target: README's table, whose every cell is a test."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.ir.ops import Add, Linear, ScaleShift
from fastrt.passes import simplify
from fastrt.passes.half import compute_in_half
from fastrt.targets.reference import DrawnReference, Reference, RoundingReference, run_reference
from fastrt.targets.registry import find_target
from fastrt.testing.untrained import draw_weights

SIZE = [96, 32]
"""MGN cuts the feature map of the smallest possible image in three."""


def _of(builder: str, depth: str, *keys: object) -> list[object]:
    name = ("MODEL.BACKBONE.NAME", f"build_{builder}_backbone", "MODEL.BACKBONE.DEPTH", depth)
    return [*name, "MODEL.HEADS.WITH_BNNECK", True, *keys]


FAMILIES: dict[str, list[object]] = {
    "ResNet 18 to 152": _of("resnet", "18x"),
    "the same with IBN-a and non-local blocks": _of(
        *("resnet", "50x", "MODEL.BACKBONE.WITH_IBN", True, "MODEL.BACKBONE.WITH_NL", True),
        *("MODEL.HEADS.POOL_LAYER", "GeneralizedMeanPoolingP"),
    ),
    "the same with squeeze-and-excitation": _of("resnet", "50x", "MODEL.BACKBONE.WITH_SE", True),
    "the same of FastDistill": _of("resnet", "34x", "MODEL.BACKBONE.NAME", "build_resnet_backbone_distill"),
    "ResNeXt 50, 101": _of("resnext", "50x"),
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
    "tensorrt-rtx": ("fp32", "fp16", "int8"),
    "onnx": ("fp32", "int8"),
    "reference": ("fp32", "int8"),
}
"""Precisions of each target that the tests of the table prove.

The golden cases hold the reference to upstream; all others are compared with it.
"""

ON_A_GPU = {
    "ResNet 18 to 152": ("fp32", "fp16"),
    "the same with IBN-a and non-local blocks": ("fp32", "fp16"),
    "the same of FastDistill": ("fp32", "fp16", "int8"),
    "ResNeSt 50 to 269": ("fp32",),
    "RepVGG A0 to B3, g2, g4": ("fp32",),
}
"""Cells of tensorrt whose tests have passed on a GPU: the golden cases in `tests/gpu`. No others are shown."""

SHARE = np.float32(0.2)
"""Factor of what a block adds to its input."""

IMAGES = [draw_person(i, i % 2, *SIZE) for i in range(3)]

PLANES = np.stack(IMAGES)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
"""The images as networks take them."""


def list_cells(*targets: str) -> list[Any]:
    """List the cells of the targets by family, target and precision; one process tests all cells of a family."""
    return [
        pytest.param(family, target, precision, marks=pytest.mark.xdist_group(family))
        for family in FAMILIES
        for target in targets
        for precision in PRECISIONS[target]
    ]


@cache
def make_network(family: str) -> fastrt.Network:
    """Make a family's network with drawn weights, whose blocks add little to their input, as in trained networks.

    Otherwise the blocks amplify the rounding of int8 and of halves, and an engine could not be told from a wrong one.
    """
    spec = fastrt.load_spec(None, ["INPUT.SIZE_TEST", SIZE, *FAMILIES[family]])
    arrays = draw_weights(spec)
    network = fastrt.build_network(spec, arrays)
    for tensor in network:
        is_branch = (
            isinstance(tensor.operation, Add) and "rbr_" not in tensor.inputs[0]
        )  # RepVGG's have no input beside
        if is_branch and isinstance(network[tensor.inputs[0]].operation, ScaleShift | Linear):
            for leaf in ("weight", "bias"):
                arrays[f"{tensor.inputs[0]}.{leaf}"] = arrays[f"{tensor.inputs[0]}.{leaf}"] * SHARE
    return fastrt.build_network(spec, arrays)


@cache
def make_table(family: str) -> fastrt.CalibrationTable:
    """Calibrate a family's network."""
    return fastrt.calibrate(make_network(family), IMAGES, "minmax")


@cache
def compute_exact(family: str) -> Array:
    """Compute the embeddings of `IMAGES` in float64."""
    return run_reference(make_network(family), PLANES)


@cache
def compute_in_int8(family: str, target: str, seed: int | None = None) -> Array:
    """Compute the embeddings of `IMAGES` by the int8 network of a target; with a seed, with random rounding."""
    quantized = make_table(family).quantize(simplify(make_network(family)), find_target(target).placement, ())
    reference = Reference(PLANES) if seed is None else DrawnReference(PLANES, seed)
    *_, (_, embeddings) = reference.lower(quantized)
    return embeddings


@cache
def round_to_half(family: str, dtype: str) -> Array:
    """Compute the embeddings of `IMAGES` with feature maps and weights rounded to ``float16`` or ``bfloat16``."""
    half = compute_in_half(simplify(make_network(family)), dtype)
    *_, (_, rounded) = RoundingReference(PLANES).lower(half)
    return rounded


def format_table() -> str:
    """Format README's table: a family a row, a target a column, and in each cell its precisions."""
    lines = [f"| model | {' | '.join(PRECISIONS)} |", "|---" * (len(PRECISIONS) + 1) + "|"]
    for family in FAMILIES:
        cells = PRECISIONS | {"tensorrt": ON_A_GPU.get(family, ())}
        lines.append(f"| {family} | {' | '.join(map(' '.join, cells.values()))} |")
    return "\n".join(lines)

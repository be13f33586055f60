"""A spec from a checkpoint's names alone, with what was guessed and what names cannot tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastrt.arrays import Array
from fastrt.errors import SpecError
from fastrt.models.backbones.resnet import STAGES
from fastrt.models.spec import ModelSpec

BLOCK = re.compile(r"backbone\.layer(\d)\.(\d+)\.")


@dataclass(frozen=True)
class Guess:
    """A spec, and in sentences what it was read from and what it assumes."""

    spec: ModelSpec
    notes: tuple[str, ...]


def guess_spec(arrays: Mapping[str, Array]) -> Guess:
    """What a checkpoint's names say of its model.

    Names tell depth, IBN, SE, non-local blocks, a learnt pooling exponent, the head's convolution and batch norm.
    They do not tell last stride, image size, distill, or a pooling without parameters: those are FastReID's usual ones.

    Raises:
        SpecError: the names are not those of a ResNet of FastReID.
    """
    depth = _depth(arrays)
    present = {
        "with_ibn": any(".bn1.IN." in name for name in arrays),
        "with_se": any(".se.fc." in name for name in arrays),
        "with_nl": any(name.startswith("backbone.NL_") for name in arrays),
    }
    learnt = "heads.pool_layer.p" in arrays
    pool = "GeneralizedMeanPoolingP" if learnt else "GeneralizedMeanPooling" if present["with_nl"] else "GlobalAvgPool"
    size = (384, 128) if learnt else (256, 128)
    convolution = "heads.bottleneck.0.weight" in arrays and "heads.bottleneck.0.running_mean" not in arrays
    width = _embedding_dim(arrays, depth) if convolution else 0
    spec = ModelSpec(depth=depth, pool_layer=pool, image_size=size, embedding_dim=width, **present)
    notes = [
        f"without a config, the checkpoint's names say: {spec.title}, embedding_dim {width}",
        "names do not tell these, so FastReID's usual ones are assumed: "
        f"last_stride {spec.last_stride}, image_size {size[0]}x{size[1]}, not distill"
        + ("" if learnt else f", pool_layer {pool}")
        + "; give --config, or --set KEY VALUE, if the model was trained otherwise",
    ]
    return Guess(spec, tuple(notes))


def _depth(arrays: Mapping[str, Array]) -> str:
    blocks = [0, 0, 0, 0]
    for name in arrays:
        if (match := BLOCK.match(name)) and 1 <= int(match[1]) <= 4:
            stage = int(match[1]) - 1
            blocks[stage] = max(blocks[stage], int(match[2]) + 1)
    bottleneck = any(re.fullmatch(r"backbone\.layer\d\.\d+\.conv3\.weight", name) for name in arrays)
    for depth, stages in STAGES.items():
        if stages.blocks == tuple(blocks) and stages.bottleneck == bottleneck:
            return depth
    found = f"layers of {blocks} blocks" if any(blocks) else f"names such as {next(iter(arrays), 'none at all')}"
    raise SpecError(f"the checkpoint's names are not those of a ResNet of FastReID: found {found}; give its config")


def _embedding_dim(arrays: Mapping[str, Array], depth: str) -> int:
    """Rows of the head's convolution; from its size where the format has no shapes."""
    array = arrays["heads.bottleneck.0.weight"]
    return int(array.shape[0]) if array.ndim == 4 else int(array.size // STAGES[depth].channels)

"""ViT base and small, with patches that may overlap.

Source: fastreid/modeling/backbones/vision_transformer.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, Gelu, Reshape, Slice
from fastrt.models.backbones.base import Backbone, logger
from fastrt.models.layers import convolve
from fastrt.models.tokens import attend, embed_positions, layer_norm, linear, make_tokens

if TYPE_CHECKING:
    from typing_extensions import Self

WIDTH = 768
PATCH = 16


@dataclass(frozen=True)
class Size:
    """A depth: blocks and heads, hidden features of the MLP by width, scale of the attention, bias of q, k and v."""

    blocks: int
    heads: int
    expansion: int
    scale: float
    bias: bool


SIZES = {
    "base": Size(12, 12, expansion=4, scale=64**-0.5, bias=True),
    "small": Size(8, 8, expansion=3, scale=768**-0.5, bias=False),  # not 96**-0.5: FastReID's own scale
}

Stride = Annotated[int, Field(strict=True, ge=1, le=1024)]


class ViT(Backbone):
    """A FastReID vision transformer.

    Attributes:
        depth: ``base``, 12 blocks, or ``small``, 8 blocks.
        stride_size: rows and columns of pixels between patches of 16x16; less than 16: they overlap.
    """

    FAMILY: ClassVar[str] = "ViT"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth", "STRIDE_SIZE": "stride_size"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH",)
    USUAL: ClassVar[Mapping[str, object]] = {"pixel_mean": (127.5, 127.5, 127.5), "pixel_std": (127.5, 127.5, 127.5)}

    name: Literal["build_vit_backbone"] = "build_vit_backbone"
    depth: Literal["base", "small"] = "base"
    stride_size: tuple[Stride, Stride] = (PATCH, PATCH)

    @property
    def title(self) -> str:
        """A name for messages: ``vit base``."""
        return f"vit {self.depth}"

    @property
    def channels(self) -> int:
        """Features of the class token."""
        return WIDTH

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the depth from the number of blocks."""
        if "backbone.patch_embed.proj.weight" not in arrays or "backbone.pos_embed" not in arrays:
            return None
        blocks = sum(name.startswith("backbone.blocks.") and name.endswith(".attn.qkv.weight") for name in arrays)
        return next((cls(depth=depth) for depth, size in SIZES.items() if size.blocks == blocks), None)

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the class token ``(768, 1, 1)`` of pixels ``(3, H, W)``.

        The last block computes the class token only, as no other token is read after it.
        """
        size = SIZES[self.depth]
        patches = convolve(b, x, "backbone.patch_embed.proj", WIDTH, PATCH, stride=self.stride_size, bias=True)
        tokens = make_tokens(b, patches, "backbone.patch_embed")
        first = b.take("backbone.cls_token", (1, 1, WIDTH))[0]
        x = embed_positions(b, tokens, "backbone.pos_embed", first, _take_positions(b, patches.shape[1:]))
        for i in range(size.blocks):
            x = self._block(b, x, f"backbone.blocks.{i}", only_class=i == size.blocks - 1)
        return b.add("backbone.class", Reshape((WIDTH, 1, 1)), layer_norm(b, x, "backbone.norm"))

    def _block(self, b: Builder, x: Tensor, name: str, *, only_class: bool) -> Tensor:
        size = SIZES[self.depth]
        y = queries = layer_norm(b, x, f"{name}.norm1")
        if only_class:
            queries = b.add(f"{name}.norm1.class", Slice(0, 0, 1), y)
            x = b.add(f"{name}.class", Slice(0, 0, 1), x)
        y = attend(b, y, f"{name}.attn", size.heads, size.scale, size.bias, queries)
        x = b.add(f"{name}.attn.add", Add(), y, x)
        y = linear(b, layer_norm(b, x, f"{name}.norm2"), f"{name}.mlp.fc1", size.expansion * WIDTH)
        y = linear(b, b.add(f"{name}.mlp.act", Gelu(), y), f"{name}.mlp.fc2", WIDTH)
        return b.add(f"{name}.mlp.add", Add(), y, x)


def _take_positions(b: Builder, grid: tuple[int, ...]) -> Array:
    """Take the position embedding ``(1 + patches, 768)`` of a grid of patches, resized if it is of a square grid."""
    name = "backbone.pos_embed"
    stored = b.parameters.arrays.get(name)
    wanted = math.prod(grid)
    count = wanted if stored is None or stored.size % WIDTH else stored.size // WIDTH - 1
    table: Array = b.take(name, (1, 1 + count, WIDTH))[0]
    if count == wanted:
        return table
    side = math.isqrt(max(count, 0))
    if not side or side**2 != count:
        b.parameters.refuse(
            name,
            f"is of {count} patches, expected {wanted}, {grid[0]} rows by {grid[1]} columns, or a square grid to"
            " resize; do INPUT.SIZE_TEST and MODEL.BACKBONE.STRIDE_SIZE belong to it?",
        )
        return np.zeros((1 + wanted, WIDTH), np.float32)
    logger.warning(
        "%s: it is of %d patches, and the image has %d rows by %d columns; it is taken for a grid of %dx%d and resized"
        " bilinearly, as FastReID resizes a pretrained one",
        name,
        count,
        *grid,
        side,
        side,
    )
    resized = table[1:].reshape(side, side, WIDTH).astype(np.float64)
    for axis, length in enumerate(grid):
        resized = np.moveaxis(np.tensordot(_interpolate(side, length), resized, (1, axis)), 0, axis)
    return np.concatenate([np.asarray(table[:1], np.float64), resized.reshape(wanted, WIDTH)])


def _interpolate(size: int, length: int) -> Array:
    """Weights ``(length, size)`` of bilinear interpolation along one axis, as PyTorch with ``align_corners`` False."""
    centres = np.clip((np.arange(length) + 0.5) * size / length - 0.5, 0, size - 1)
    weights: Array = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size)))
    return weights

"""ShuffleNetV2 of four widths: half of the channels pass each block unchanged, and all are shuffled before it.

Source: fastreid/modeling/backbones/shufflenet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Concat, MaxPool
from fastrt.models.activations import relu
from fastrt.models.backbones.base import Backbone
from fastrt.models.layers import batch_norm, convolve, deinterleave

if TYPE_CHECKING:
    from typing_extensions import Self

Depth = Literal["0.5x", "1.0x", "1.5x", "2.0x"]

WIDTHS: dict[Depth, tuple[int, int, int, int]] = {
    "0.5x": (48, 96, 192, 1024),
    "1.0x": (116, 232, 464, 1024),
    "1.5x": (176, 352, 704, 1024),
    "2.0x": (244, 488, 976, 2048),
}
"""Channels of the three stages and of the feature map."""

BLOCKS = (4, 8, 4)
"""Blocks of each stage."""


class ShuffleNetV2(Backbone):
    """A FastReID ShuffleNetV2.

    Attributes:
        name: FastReID's builder.
        norm: all four are the same affine map at inference.
        depth: the width: ``0.5x`` to ``2.0x``.
    """

    FAMILY: ClassVar[str] = "ShuffleNetV2"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH",)

    name: Literal["build_shufflenetv2_backbone"] = "build_shufflenetv2_backbone"
    depth: Depth = "1.0x"

    @property
    def title(self) -> str:
        """A name for messages: ``shufflenetv2 1.0x``."""
        return f"shufflenetv2 {self.depth}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return WIDTHS[self.depth][-1]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the width from the channels of the last block."""
        last = arrays.get("backbone.features.15.branch_main.6.weight")
        for depth, widths in WIDTHS.items():
            if last is not None and last.size == widths[2] // 2:
                return cls(depth=depth)
        return None

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 32, W / 32)`` of pixels ``(3, H, W)``."""
        *stages, last = WIDTHS[self.depth]
        x = convolve(b, x, "backbone.first_conv.0", 24, 3, stride=2, padding=1)
        x = relu(b, batch_norm(b, x, "backbone.first_conv.1"), "backbone.first_conv.2")
        x = b.add("backbone.maxpool", MaxPool(3, 2, padding=1), x)
        block = 0
        for channels, blocks in zip(stages, BLOCKS, strict=True):
            for i in range(blocks):
                x = (_block if i else _first_block)(b, x, f"backbone.features.{block}", channels)
                block += 1
        x = batch_norm(b, convolve(b, x, "backbone.conv_last.0", last, 1), "backbone.conv_last.1")
        return relu(b, x, "backbone.conv_last.2")


def _first_block(b: Builder, x: Tensor, name: str, channels: int) -> Tensor:
    """Build a stage's first block, of stride 2: both branches read all channels, none is shuffled."""
    width = x.shape[0]
    branch = f"{name}.branch_proj"
    y = convolve(b, x, f"{branch}.0", width, 3, stride=2, padding=1, groups=width)
    y = convolve(b, batch_norm(b, y, f"{branch}.1"), f"{branch}.2", width, 1)
    y = relu(b, batch_norm(b, y, f"{branch}.3"), f"{branch}.4")
    main = _main(b, x, f"{name}.branch_main", channels // 2, channels - width, stride=2)
    return b.add(name, Concat(), y, main)


def _block(b: Builder, x: Tensor, name: str, channels: int) -> Tensor:
    """Build another block: even channels pass, odd channels go through the branch."""
    even, odd = deinterleave(b, x, f"{name}.shuffle")
    main = _main(b, odd, f"{name}.branch_main", channels // 2, channels // 2, stride=1)
    return b.add(name, Concat(), even, main)


def _main(b: Builder, x: Tensor, name: str, width: int, channels: int, stride: int) -> Tensor:
    """Build a branch: 1x1, depthwise, 1x1; there is no activation after the depthwise convolution."""
    x = relu(b, batch_norm(b, convolve(b, x, f"{name}.0", width, 1), f"{name}.1"), f"{name}.2")
    x = convolve(b, x, f"{name}.3", width, 3, stride, padding=1, groups=width)
    x = convolve(b, batch_norm(b, x, f"{name}.4"), f"{name}.5", channels, 1)
    return relu(b, batch_norm(b, x, f"{name}.6"), f"{name}.7")

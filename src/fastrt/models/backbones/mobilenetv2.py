"""MobileNetV2 of six widths: inverted residuals, whose depthwise convolutions are on six times the channels.

Source: fastreid/modeling/backbones/mobilenet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add
from fastrt.models.activations import relu6
from fastrt.models.backbones.base import Backbone
from fastrt.models.layers import batch_norm, convolve, round_channels

if TYPE_CHECKING:
    from typing_extensions import Self

Depth = Literal["1.0x", "0.75x", "0.5x", "0.35x", "0.25x", "0.1x"]
DEPTHS: tuple[Depth, ...] = ("1.0x", "0.75x", "0.5x", "0.35x", "0.25x", "0.1x")

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, number of blocks and stride of the first block, at width 1."""


class MobileNetV2(Backbone):
    """A FastReID MobileNetV2.

    Attributes:
        name: FastReID's builder.
        norm: all four are the same affine map at inference.
        depth: the factor of all widths but the last: ``1.0x`` to ``0.1x``.
    """

    FAMILY: ClassVar[str] = "MobileNetV2"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH",)

    name: Literal["build_mobilenetv2_backbone"] = "build_mobilenetv2_backbone"
    depth: Depth = "1.0x"

    @property
    def title(self) -> str:
        """A name for messages: ``mobilenetv2 1.0x``."""
        return f"mobilenetv2 {self.depth}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return 1280

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the width from the channels of the last block."""
        last = arrays.get("backbone.features.17.conv.7.weight")
        if last is not None:
            for depth in DEPTHS:
                if _scale(STAGES[-1][1], depth) == last.size:
                    return cls(depth=depth)
        return None

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(1280, H / 32, W / 32)`` of pixels ``(3, H, W)``."""
        x = convolve(b, x, "backbone.features.0.0", _scale(32, self.depth), 3, stride=2, padding=1)
        x = relu6(b, batch_norm(b, x, "backbone.features.0.1"), "backbone.features.0.2")
        block = 1
        for expansion, channels, blocks, stride in STAGES:
            for i in range(blocks):
                width, step = _scale(channels, self.depth), stride if i == 0 else 1
                x = _block(b, x, f"backbone.features.{block}", expansion, width, step)
                block += 1
        x = batch_norm(b, convolve(b, x, "backbone.conv.0", self.channels, 1), "backbone.conv.1")
        return relu6(b, x, "backbone.conv.2")


def _scale(channels: int, depth: Depth) -> int:
    """Return a width of the table, scaled and rounded."""
    return round_channels(channels * float(depth[:-1]), 4 if depth == "0.1x" else 8)


def _block(b: Builder, x: Tensor, name: str, expansion: int, channels: int, stride: int) -> Tensor:
    """Build an inverted residual: expand, depthwise, project; the shortcut joins narrow tensors, without activation."""
    hidden = x.shape[0] * expansion
    y, part = x, 0  # the parts are those of a Sequential, activations included
    if expansion != 1:
        y = batch_norm(b, convolve(b, y, f"{name}.conv.0", hidden, 1), f"{name}.conv.1")
        y, part = relu6(b, y, f"{name}.conv.2"), 3
    y = convolve(b, y, f"{name}.conv.{part}", hidden, 3, stride, padding=1, groups=hidden)
    y = relu6(b, batch_norm(b, y, f"{name}.conv.{part + 1}"), f"{name}.conv.{part + 2}")
    y = batch_norm(b, convolve(b, y, f"{name}.conv.{part + 3}", channels, 1), f"{name}.conv.{part + 4}")
    return b.add(name, Add(), y, x) if stride == 1 and x.shape[0] == channels else y

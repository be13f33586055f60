"""MobileNetV3, Large and Small: inverted residuals with hard-swish and, in places, squeeze-and-excitation.

Source: fastreid/modeling/backbones/mobilenetv3.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add
from fastrt.models.activations import Activation, hard_sigmoid, hard_swish, relu, relu6
from fastrt.models.backbones.base import Backbone
from fastrt.models.layers import batch_norm, convolve, gate_channels, round_channels

if TYPE_CHECKING:
    from typing_extensions import Self

Depth = Literal["Large", "Small"]


@dataclass(frozen=True)
class Block:
    """An inverted residual: its kernel, its widths, its stride, and the parts that only some blocks have."""

    kernel: int
    hidden: int
    channels: int
    stride: int = 1
    gated: bool = False
    activation: Activation = hard_swish


BLOCKS: dict[Depth, tuple[Block, ...]] = {
    "Large": (
        Block(3, 16, 16, activation=relu),
        Block(3, 64, 24, 2, activation=relu),
        Block(3, 72, 24, activation=relu),
        Block(5, 72, 40, 2, gated=True, activation=relu),
        *[Block(5, 120, 40, gated=True, activation=relu)] * 2,
        Block(3, 240, 80, 2),
        Block(3, 200, 80),
        *[Block(3, 184, 80)] * 2,
        Block(3, 480, 112, gated=True),
        Block(3, 672, 112, gated=True),
        Block(5, 672, 160, 2, gated=True),
        *[Block(5, 960, 160, gated=True)] * 2,
    ),
    "Small": (
        Block(3, 16, 16, 2, gated=True, activation=relu),
        Block(3, 72, 24, 2, activation=relu),
        Block(3, 88, 24, activation=relu),
        Block(5, 96, 40, 2, gated=True),
        *[Block(5, 240, 40, gated=True)] * 2,
        Block(5, 120, 48, gated=True),
        Block(5, 144, 48, gated=True),
        Block(5, 288, 96, 2, gated=True),
        *[Block(5, 576, 96, gated=True)] * 2,
    ),
}
"""The blocks ``features.1``, ``features.2``, …; the convolutions before and after them are of `MobileNetV3.build`."""


class MobileNetV3(Backbone):
    """A FastReID MobileNetV3.

    Attributes:
        name: FastReID's builder.
        norm: all four are the same affine map at inference.
        depth: ``Large`` or ``Small``.
    """

    FAMILY: ClassVar[str] = "MobileNetV3"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH",)

    name: Literal["build_mobilenetv3_backbone"] = "build_mobilenetv3_backbone"
    depth: Depth = "Large"

    @property
    def title(self) -> str:
        """A name for messages: ``mobilenetv3 Large``."""
        return f"mobilenetv3 {self.depth}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return {"Large": 1280, "Small": 1024}[self.depth]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the depth from the number of the convolution after the blocks."""
        if "backbone.features.1.block.0.0.weight" in arrays:
            for depth, blocks in BLOCKS.items():
                if f"backbone.features.{len(blocks) + 1}.0.weight" in arrays:
                    return cls(depth=depth)
        return None

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 32, W / 32)`` of pixels ``(3, H, W)``."""
        blocks = BLOCKS[self.depth]
        x = _unit(b, x, "backbone.features.0", 16, hard_swish, kernel=3, stride=2)
        for i, block in enumerate(blocks, 1):
            x = _block(b, x, f"backbone.features.{i}", block)
        x = _unit(b, x, f"backbone.features.{len(blocks) + 1}", 6 * x.shape[0], hard_swish)
        return _unit(b, x, "backbone.conv", self.channels, relu6)


def _unit(
    b: Builder,
    x: Tensor,
    name: str,
    channels: int,
    activation: Activation,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> Tensor:
    """Build a convolution, a batch norm and an activation."""
    x = convolve(b, x, f"{name}.0", channels, kernel, stride, padding=kernel // 2, groups=groups)
    return activation(b, batch_norm(b, x, f"{name}.1"), f"{name}.2")


def _block(b: Builder, x: Tensor, name: str, block: Block) -> Tensor:
    """Build an inverted residual: expand, depthwise, gate, project."""
    y, part = x, 0  # counts the parts that the block has
    if block.hidden != x.shape[0]:
        y, part = _unit(b, y, f"{name}.block.0", block.hidden, block.activation), 1
    gate = f"{name}.block.{part + 1}"
    y = _unit(b, y, f"{name}.block.{part}", block.hidden, block.activation, block.kernel, block.stride, block.hidden)
    if block.gated:
        squeezed = round_channels(block.hidden // 4, 8)
        y = gate_channels(b, y, gate, squeezed, (f"{gate}.fc1", f"{gate}.fc2"), relu, hard_sigmoid)
    last = f"{name}.block.{part + 1 + block.gated}"
    y = batch_norm(b, convolve(b, y, f"{last}.0", block.channels, 1), f"{last}.1")
    return b.add(name, Add(), y, x) if block.stride == 1 and x.shape[0] == block.channels else y

"""RepVGG A0 to B3g4: blocks of parallel branches, or of the one convolution that they are merged into.

Source: fastreid/modeling/backbones/repvgg.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, Convolution, Relu
from fastrt.models.backbones.base import Backbone
from fastrt.models.layers import batch_norm, convolve

if TYPE_CHECKING:
    from typing_extensions import Self

A, B = (1, 2, 4, 14, 1), (1, 4, 6, 16, 1)
"""Number of blocks of stage0 to stage4."""


@dataclass(frozen=True)
class Variant:
    """A depth: number of blocks and widths of stage0 to stage4; groups of every second block from the third on."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    groups: int = 1


VARIANTS = {
    "A0": Variant(A, (48, 48, 96, 192, 1280)),
    "A1": Variant(A, (64, 64, 128, 256, 1280)),
    "A2": Variant(A, (64, 96, 192, 384, 1408)),
    "B0": Variant(B, (64, 64, 128, 256, 1280)),
    "B1": Variant(B, (64, 128, 256, 512, 2048)),
    "B1g2": Variant(B, (64, 128, 256, 512, 2048), 2),
    "B1g4": Variant(B, (64, 128, 256, 512, 2048), 4),
    "B2": Variant(B, (64, 160, 320, 640, 2560)),
    "B2g2": Variant(B, (64, 160, 320, 640, 2560), 2),
    "B2g4": Variant(B, (64, 160, 320, 640, 2560), 4),
    "B3": Variant(B, (64, 192, 384, 768, 2560)),
    "B3g2": Variant(B, (64, 192, 384, 768, 2560), 2),
    "B3g4": Variant(B, (64, 192, 384, 768, 2560), 4),
}

Depth = Literal["A0", "A1", "A2", "B0", "B1", "B1g2", "B1g4", "B2", "B2g2", "B2g4", "B3", "B3g2", "B3g4"]

TRAINING, DEPLOYED = ".rbr_dense.conv.weight", ".fused_weight"
"""Endings of the names of the 3x3 kernels."""


@dataclass(frozen=True)
class Block:
    """A block's name, input and output channels, stride and groups."""

    name: str
    inputs: int
    channels: int
    stride: int
    groups: int


class RepVGG(Backbone):
    """A FastReID RepVGG, from a checkpoint of the training form or of the deployed one.

    Attributes:
        name: the builder.
        depth: ``A0`` to ``B3g4``.
        last_stride: stride of stage4.
    """

    FAMILY: ClassVar[str] = "RepVGG"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth", "LAST_STRIDE": "last_stride"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH",)

    name: Literal["build_repvgg_backbone"] = "build_repvgg_backbone"
    depth: Depth
    last_stride: Literal[1, 2] = 1

    @property
    def title(self) -> str:
        """A name for messages: ``repvgg B1g4``."""
        return f"repvgg {self.depth}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return VARIANTS[self.depth].widths[-1]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the depth from the names and sizes of the 3x3 kernels."""
        for ending in (TRAINING, DEPLOYED):
            found = {name: array.size for name, array in arrays.items() if name.endswith(ending)}
            for depth in VARIANTS:
                backbone = cls(depth=depth)
                sizes = {f"{x.name}{ending}": 9 * x.inputs * x.channels // x.groups for x in backbone.list_blocks()}
                if found == sizes:
                    return backbone
        return None

    def list_blocks(self) -> Iterator[Block]:
        """List the blocks in order."""
        variant = VARIANTS[self.depth]
        inputs, index = 3, 0
        for stage, (blocks, width) in enumerate(zip(variant.blocks, variant.widths, strict=True)):
            for i in range(blocks):
                name = f"backbone.stage{stage}.{i}" if stage else "backbone.stage0"
                stride = (2, 2, 2, 2, self.last_stride)[stage] if i == 0 else 1
                yield Block(name, inputs, width, stride, variant.groups if index and index % 2 == 0 else 1)
                inputs, index = width, index + 1

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of pixels ``(3, H, W)``."""
        deployed = f"backbone.stage0{DEPLOYED}" in b.parameters.arrays
        build_sum = _convolve_merged if deployed else _add_branches
        for block in self.list_blocks():
            x = b.add(f"{block.name}.nonlinearity", Relu(), build_sum(b, x, block))
        return x


def _add_branches(b: Builder, x: Tensor, block: Block) -> Tensor:
    """Add the training form's branches: a 3x3 convolution, a 1x1 convolution and the input if it fits, each normed."""
    dense = _convolve_branch(b, x, block, "rbr_dense", 3)
    side = _convolve_branch(b, x, block, "rbr_1x1", 1)
    if block.inputs == block.channels and block.stride == 1:
        side = b.add(f"{block.name}.side", Add(), side, batch_norm(b, x, f"{block.name}.rbr_identity"))
    return b.add(f"{block.name}.sum", Add(), dense, side)


def _convolve_branch(b: Builder, x: Tensor, block: Block, branch: str, kernel: int) -> Tensor:
    name = f"{block.name}.{branch}"
    x = convolve(b, x, f"{name}.conv", block.channels, kernel, block.stride, kernel // 2, groups=block.groups)
    return batch_norm(b, x, f"{name}.bn")


def _convolve_merged(b: Builder, x: Tensor, block: Block) -> Tensor:
    """Apply the deployed form's convolution."""
    weight = b.take(f"{block.name}{DEPLOYED}", (block.channels, block.inputs // block.groups, 3, 3))
    bias = b.take(f"{block.name}.fused_bias", (block.channels,))
    return b.add(f"{block.name}.sum", Convolution(weight, bias, block.stride, padding=1, groups=block.groups), x)

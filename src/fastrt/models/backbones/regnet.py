"""RegNet X and Y: residual blocks of a grouped 3x3 convolution between two 1x1 ones; Y has squeeze-and-excitation.

Source: fastreid/modeling/backbones/regnet/regnet.py and its configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add
from fastrt.models.activations import relu, sigmoid
from fastrt.models.backbones.base import Backbone, logger
from fastrt.models.layers import batch_norm, convolve, gate_channels

if TYPE_CHECKING:
    from typing_extensions import Self

STEM = 32


@dataclass(frozen=True)
class Stages:
    """Number and width of the blocks of s1 to s4, and the width of a group of their 3x3 convolutions."""

    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    group_width: int


STAGES = {
    "200x": Stages((1, 1, 4, 7), (24, 56, 152, 368), 8),
    "400x": Stages((1, 2, 7, 12), (32, 64, 160, 384), 16),
    "800x": Stages((1, 3, 7, 5), (64, 128, 288, 672), 16),
    "1600x": Stages((2, 4, 10, 2), (72, 168, 408, 912), 24),
    "3200x": Stages((2, 6, 15, 2), (96, 192, 432, 1008), 48),
    "4000x": Stages((2, 5, 14, 2), (80, 240, 560, 1360), 40),
    "6400x": Stages((2, 4, 10, 1), (168, 392, 784, 1624), 56),
    "200y": Stages((1, 1, 4, 7), (24, 56, 152, 368), 8),
    "400y": Stages((1, 3, 6, 6), (48, 104, 208, 440), 8),
    "800y": Stages((1, 3, 8, 2), (64, 128, 320, 768), 16),
    "1600y": Stages((2, 6, 17, 2), (48, 120, 336, 888), 24),
    "3200y": Stages((2, 5, 13, 1), (72, 216, 576, 1512), 24),
    "4000y": Stages((2, 6, 12, 2), (128, 192, 512, 1088), 64),
    "6400y": Stages((2, 7, 14, 2), (144, 288, 576, 1296), 72),
}

Depth = Literal[
    "200x", "400x", "800x", "1600x", "3200x", "4000x", "6400x",
    "200y", "400y", "800y", "1600y", "3200y", "4000y", "6400y",
]  # fmt: skip


class RegNet(Backbone):
    """A FastReID RegNet.

    Attributes:
        name: the builder.
        depth: ``200x`` to ``6400y``: megaflops and variant.
        last_stride: stride of s4.
        excited: squeeze-and-excitation in every block; None: inferred from the checkpoint, see `migrate`.
    """

    FAMILY: ClassVar[str] = "RegNet"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth", "LAST_STRIDE": "last_stride"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH",)

    name: Literal["build_regnet_backbone"] = "build_regnet_backbone"
    depth: Depth
    last_stride: Literal[1, 2] = 1
    excited: bool | None = None

    @property
    def title(self) -> str:
        """A name for messages: ``regnet 800x``."""
        return f"regnet {self.depth}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return STAGES[self.depth].widths[-1]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the depth from the number and the widths of the blocks; X and Y of depth 200 differ in SE only."""
        ending = ".f.c_bn.weight"
        found = {name: array.size for name, array in arrays.items() if name.endswith(ending)}
        depths = [depth for depth, stages in STAGES.items() if found == _list_widths(stages, ending)]
        likely = "y" if _has_excitation(arrays) else "x"
        depths.sort(key=lambda depth: not depth.endswith(likely))
        return cls(depth=depths[0]) if depths else None

    def settle(self) -> RegNet:
        """Fill in the open setting: Y has squeeze-and-excitation, X does not."""
        return self if self.excited is not None else self.replace(excited=self.depth.endswith("y"))

    def migrate(
        self,
        arrays: Mapping[str, Array],
        version: str,  # noqa: ARG002
    ) -> tuple[Backbone, Mapping[str, Array]]:
        """Infer squeeze-and-excitation: FastReID gives it to an X that it builds after a Y in one process."""
        if self.excited is not None or self.depth.endswith("y") or not _has_excitation(arrays):
            return self.settle(), arrays
        logger.warning(
            f"DEPTH is {self.depth}, but the checkpoint has squeeze-and-excitation: it is built, as FastReID does for a"
            " RegNetX after a RegNetY in the same process"
        )
        return self.replace(excited=True), arrays

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of pixels ``(3, H, W)``."""
        stages = STAGES[self.depth]
        x = batch_norm(b, convolve(b, x, "backbone.stem.conv", STEM, 3, stride=2, padding=1), "backbone.stem.bn")
        x = relu(b, x, "backbone.stem.relu")
        for stage, (blocks, width) in enumerate(zip(stages.blocks, stages.widths, strict=True), 1):
            for i in range(1, blocks + 1):
                stride = (2, 2, 2, self.last_stride)[stage - 1] if i == 1 else 1
                x = self._block(b, x, f"backbone.s{stage}.b{i}", width, stride)
        return x

    def _block(self, b: Builder, x: Tensor, name: str, width: int, stride: int) -> Tensor:
        groups = width // STAGES[self.depth].group_width
        y = batch_norm(b, convolve(b, x, f"{name}.f.a", width, 1), f"{name}.f.a_bn")
        y = relu(b, y, f"{name}.f.a_relu")
        y = batch_norm(b, convolve(b, y, f"{name}.f.b", width, 3, stride, 1, groups=groups), f"{name}.f.b_bn")
        y = relu(b, y, f"{name}.f.b_relu")
        if self.excited:
            hidden = round(x.shape[0] / 4)  # of the block's input
            convolutions = f"{name}.f.se.f_ex.0", f"{name}.f.se.f_ex.2"
            y = gate_channels(b, y, f"{name}.f.se", hidden, convolutions, relu, sigmoid)
        y = batch_norm(b, convolve(b, y, f"{name}.f.c", width, 1), f"{name}.f.c_bn")
        if stride != 1 or x.shape[0] != width:
            x = batch_norm(b, convolve(b, x, f"{name}.proj", width, 1, stride), f"{name}.bn")
        return relu(b, b.add(f"{name}.add", Add(), y, x), f"{name}.relu")


def _list_widths(stages: Stages, ending: str) -> dict[str, int]:
    counted = enumerate(zip(stages.blocks, stages.widths, strict=True), 1)
    return {f"backbone.s{s}.b{i}{ending}": width for s, (blocks, width) in counted for i in range(1, blocks + 1)}


def _has_excitation(arrays: Mapping[str, Array]) -> bool:
    return any(".f.se.f_ex." in name for name in arrays)

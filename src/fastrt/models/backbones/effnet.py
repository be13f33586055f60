"""EfficientNet b0 to b5: inverted residual blocks with a depthwise convolution, swish and squeeze-and-excitation.

Source: fastreid/modeling/backbones/regnet/effnet.py and its configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add
from fastrt.models.activations import sigmoid, swish
from fastrt.models.backbones.base import Backbone
from fastrt.models.layers import batch_norm, convolve, gate_channels

if TYPE_CHECKING:
    from typing_extensions import Self

KERNELS = (3, 3, 5, 3, 5, 5, 3)
"""Sizes of the depthwise kernels of s1 to s7."""

EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)
"""Channels of the depthwise convolutions of s1 to s7, divided by their block's input channels."""


@dataclass(frozen=True)
class Stages:
    """Width of the stem, number and width of the blocks of s1 to s7, width of the last convolution."""

    stem: int
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    head: int


STAGES = {
    "b0": Stages(32, (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320), 1280),
    "b1": Stages(32, (2, 3, 3, 4, 4, 5, 2), (16, 24, 40, 80, 112, 192, 320), 1280),
    "b2": Stages(32, (2, 3, 3, 4, 4, 5, 2), (16, 24, 48, 88, 120, 208, 352), 1408),
    "b3": Stages(40, (2, 3, 3, 5, 5, 6, 2), (24, 32, 48, 96, 136, 232, 384), 1536),
    "b4": Stages(48, (2, 4, 4, 6, 6, 8, 2), (24, 32, 56, 112, 160, 272, 448), 1792),
    "b5": Stages(48, (3, 5, 5, 7, 7, 9, 3), (24, 40, 64, 128, 176, 304, 512), 2048),
}

Depth = Literal["b0", "b1", "b2", "b3", "b4", "b5"]


class EfficientNet(Backbone):
    """A FastReID EfficientNet.

    Attributes:
        name: the builder.
        depth: ``b0`` to ``b5``.
        last_stride: stride of s6.
    """

    FAMILY: ClassVar[str] = "EfficientNet"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth", "LAST_STRIDE": "last_stride"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH",)

    name: Literal["build_effnet_backbone"] = "build_effnet_backbone"
    depth: Depth
    last_stride: Literal[1, 2] = 1

    @property
    def title(self) -> str:
        """A name for messages: ``efficientnet b0``."""
        return f"efficientnet {self.depth}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return STAGES[self.depth].head

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the depth from the number and the widths of the blocks."""
        ending = ".lin_proj_bn.weight"
        found = {name: array.size for name, array in arrays.items() if name.endswith(ending)}
        for depth, stages in STAGES.items():
            counted = enumerate(zip(stages.blocks, stages.widths, strict=True), 1)
            widths = {f"backbone.s{s}.b{i}{ending}": w for s, (blocks, w) in counted for i in range(1, blocks + 1)}
            if found == widths:
                return cls(depth=depth)
        return None

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of pixels ``(3, H, W)``."""
        stages = STAGES[self.depth]
        x = batch_norm(b, convolve(b, x, "backbone.stem.conv", stages.stem, 3, 2, padding=1), "backbone.stem.bn")
        x = swish(b, x, "backbone.stem.swish")
        strides = (1, 2, 2, 2, 1, self.last_stride, 1)
        rows = zip(stages.blocks, stages.widths, KERNELS, EXPANSIONS, strides, strict=True)
        for stage, (blocks, width, kernel, expansion, stride) in enumerate(rows, 1):
            for i in range(1, blocks + 1):
                x = _block(b, x, f"backbone.s{stage}.b{i}", width, kernel, expansion, stride if i == 1 else 1)
        x = batch_norm(b, convolve(b, x, "backbone.head.conv", stages.head, 1), "backbone.head.conv_bn")
        return swish(b, x, "backbone.head.swish")


def _block(b: Builder, x: Tensor, name: str, width: int, kernel: int, expansion: int, stride: int) -> Tensor:
    """Build an inverted residual block: expand, convolve depthwise, gate, project; add the input if it fits."""
    inputs = x.shape[0]
    inner = inputs * expansion
    y = x
    if expansion != 1:
        y = batch_norm(b, convolve(b, y, f"{name}.exp", inner, 1), f"{name}.exp_bn")
        y = swish(b, y, f"{name}.exp_swish")
    y = convolve(b, y, f"{name}.dwise", inner, kernel, stride, kernel // 2, groups=inner)
    y = swish(b, batch_norm(b, y, f"{name}.dwise_bn"), f"{name}.dwise_swish")
    y = gate_channels(b, y, f"{name}.se", inputs // 4, (f"{name}.se.f_ex.0", f"{name}.se.f_ex.2"), swish, sigmoid)
    y = batch_norm(b, convolve(b, y, f"{name}.lin_proj", width, 1), f"{name}.lin_proj_bn")
    return b.add(f"{name}.add", Add(), y, x) if stride == 1 and inputs == width else y

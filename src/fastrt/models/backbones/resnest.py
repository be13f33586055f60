"""ResNeSt 50, 101, 200 and 269 (2s1x64d): bottlenecks with split attention, in two versions.

Source: fastreid/modeling/backbones/resnest.py, fastreid/layers/splat.py; before a327a70 also with IBN-a and non-local
blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, AveragePool, Convolution, MaxPool, Multiply, ReduceMean, Slice
from fastrt.models.activations import relu, sigmoid
from fastrt.models.backbones.base import Backbone, count_blocks
from fastrt.models.backbones.resnet_versions import choose_first_norm, find_dilation, warn_ignored
from fastrt.models.layers import batch_norm, convolve, stack_blocks

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCKS = {"50x": (3, 4, 6, 3), "101x": (3, 4, 23, 3), "200x": (3, 24, 36, 3), "269x": (3, 30, 48, 8)}
NON_LOCALS = (0, 2, 3, 0)
PLANES = (64, 128, 256, 512)


class ResNeSt(Backbone):
    """A FastReID ResNeSt.

    ``auto`` is inferred from the checkpoint; see `migrate`.

    Attributes:
        name: FastReID's builder.
        norm: all four are the same affine map at inference.
        depth: ``50x``, ``101x``, ``200x`` or ``269x``.
        last_stride: stride of layer4; FastReID since 2020-12-07 takes all values but 1 as 2.
        with_ibn: IBN-a in the blocks; ignored by FastReID since 2020-12-07.
        with_nl: non-local blocks in layer2 and layer3; ignored by FastReID since 2020-12-07.
        layer4: with last stride 1, layer4 is ``dilated`` (FastReID since 2020-12-07) or ``undilated`` (before).
    """

    FAMILY: ClassVar[str] = "ResNeSt"
    KEYS: ClassVar[Mapping[str, str]] = {
        field.upper(): field for field in ("depth", "last_stride", "with_ibn", "with_nl", "layer4")
    }
    """LAYER4 is fastrt's own."""
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH", "WITH_IBN", "WITH_NL")

    name: Literal["build_resnest_backbone"] = "build_resnest_backbone"
    depth: Literal["50x", "101x", "200x", "269x"] = "50x"
    last_stride: Annotated[int, Field(ge=1, le=64)] = 1
    with_ibn: bool = False
    with_nl: bool = False
    layer4: Literal["auto", "dilated", "undilated"] = "auto"

    @property
    def title(self) -> str:
        """A name for messages: ``resnest 50``."""
        return f"resnest {self.depth.rstrip('x')}{' ibn' if self.with_ibn else ''}{' nl' if self.with_nl else ''}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return 4 * PLANES[-1]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer depth, IBN and non-local blocks from names; those of the split attention show the family."""
        if "backbone.layer1.0.conv2.fc1.weight" not in arrays:
            return None
        with_ibn = any(".bn1.IN." in name for name in arrays)
        with_nl = any(name.startswith("backbone.NL_") for name in arrays)
        for depth, blocks in BLOCKS.items():
            if blocks == count_blocks(arrays):
                return cls(depth=depth, with_ibn=with_ibn, with_nl=with_nl)
        return None

    def settle(self) -> ResNeSt:
        """Fill in the open settings with the defaults of current FastReID; drop the settings that it ignores."""
        if self.layer4 == "undilated":
            return self
        last_stride = 1 if self.last_stride == 1 else 2
        return self.replace(layer4="dilated", last_stride=last_stride, with_ibn=False, with_nl=False)

    def migrate(self, arrays: Mapping[str, Array], version: str) -> tuple[Backbone, Mapping[str, Array]]:
        """Infer from the checkpoint whether layer4 is dilated; names need no change."""
        layer4 = find_dilation(self, arrays, version) if self.layer4 == "auto" else self.layer4
        settled = self.replace(layer4=layer4).settle()
        warn_ignored(self, settled)
        return settled, arrays

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(2048, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of pixels ``(3, H, W)``."""
        width = 32 if self.depth == "50x" else 64
        for i, (channels, stride) in enumerate([(width, 2), (width, 1), (2 * width, 1)]):
            x = convolve(b, x, f"backbone.conv1.{3 * i}", channels, 3, stride, padding=1)
            norm, activation = ("bn1", "relu") if i == 2 else (f"conv1.{3 * i + 1}", f"conv1.{3 * i + 2}")
            x = relu(b, batch_norm(b, x, f"backbone.{norm}"), f"backbone.{activation}")
        x = b.add("backbone.maxpool", MaxPool(3, 2, padding=1), x)
        non_locals = NON_LOCALS if self.with_nl else (0, 0, 0, 0)
        return stack_blocks(b, x, BLOCKS[self.depth], non_locals, self._block)

    def _block(self, b: Builder, x: Tensor, name: str, layer: int, i: int) -> Tensor:
        """Build a bottleneck; average pools have the strides."""
        planes = PLANES[layer - 1]
        stride = (1, 2, 2, self.last_stride)[layer - 1]
        dilated = layer == 4 and i > 0 and stride == 1 and self.layer4 == "dilated"
        first_norm = choose_first_norm(b, name, layer, with_ibn=self.with_ibn)
        y = first_norm(b, convolve(b, x, f"{name}.conv1", planes, 1), f"{name}.bn1")
        y = _split_attention(b, relu(b, y, f"{name}.relu1"), f"{name}.conv2", 2 if dilated else 1)
        if i == 0 and layer > 1:  # also with stride 1, where it smooths
            y = b.add(f"{name}.avd_layer", AveragePool(3, stride, padding=1, counted=True), y)
        y = batch_norm(b, convolve(b, y, f"{name}.conv3", 4 * planes, 1), f"{name}.bn3")
        if i == 0:
            if stride > 1:
                x = b.add(f"{name}.downsample.0", AveragePool(stride, stride, ceil=True), x)
            x = batch_norm(b, convolve(b, x, f"{name}.downsample.1", 4 * planes, 1), f"{name}.downsample.2")
        return relu(b, b.add(f"{name}.add", Add(), y, x), f"{name}.relu")


def _split_attention(b: Builder, x: Tensor, name: str, dilation: int) -> Tensor:
    """A convolution to two feature maps ``(C, h, w)``, and their sum weighted by a softmax over the two per channel."""
    c = x.shape[0]
    u = convolve(b, x, f"{name}.conv", 2 * c, 3, padding=dilation, groups=2, dilation=dilation)
    u0, u1 = _halve(b, relu(b, batch_norm(b, u, f"{name}.bn0"), f"{name}.relu"), f"{name}.u")
    mean = b.add(f"{name}.mean", ReduceMean(), b.add(f"{name}.sum", Add(), u0, u1))
    hidden = max(c // 2, 32)
    y = relu(b, batch_norm(b, convolve(b, mean, f"{name}.fc1", hidden, 1, bias=True), f"{name}.bn1"), f"{name}.relu1")
    # A softmax of two numbers is the sigmoid of their difference, which a convolution by the difference computes.
    weight = b.take(f"{name}.fc2.weight", (2 * c, hidden, 1, 1))
    bias = b.take(f"{name}.fc2.bias", (2 * c,))
    a = b.add(f"{name}.fc2", Convolution(weight - np.roll(weight, c, 0), bias - np.roll(bias, c)), y)
    w0, w1 = _halve(b, sigmoid(b, a, f"{name}.rsoftmax"), f"{name}.w")
    return b.add(name, Add(), b.add(f"{name}.y0", Multiply(), u0, w0), b.add(f"{name}.y1", Multiply(), u1, w1))


def _halve(b: Builder, x: Tensor, name: str) -> list[Tensor]:
    half = x.shape[0] // 2
    return [b.add(f"{name}{i}", Slice(0, i * half, (i + 1) * half), x) for i in (0, 1)]

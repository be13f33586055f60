"""OSNet: in each block, four streams of depthwise convolutions with growing fields of view, added by one gate.

`build_osnet` serves FastReID's OSNet, in this file, and torchreid's, in `fastrt.models.backbones.torchreid`.

Source: fastreid/modeling/backbones/osnet.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, AveragePool, MaxPool
from fastrt.models.activations import relu, sigmoid
from fastrt.models.backbones.base import Backbone
from fastrt.models.layers import batch_norm, convolve, gate_channels, instance_norm

if TYPE_CHECKING:
    from typing_extensions import Self

Width = Literal["x1_0", "x0_75", "x0_5", "x0_25"]

CHANNELS: Mapping[Width, tuple[int, int, int, int]] = {
    "x1_0": (64, 256, 384, 512),
    "x0_75": (48, 192, 288, 384),
    "x0_5": (32, 128, 192, 256),
    "x0_25": (16, 64, 96, 128),
}
"""Channels of conv1 to conv4; conv5 has those of conv4."""

BlockNorm = Literal["", "sum", "branch"]
"""A block's instance norm: none; of the sum; or of the branch before the sum, instead of its last batch norm."""


@dataclass(frozen=True)
class Variant:
    """The norm of conv1, the instance norms of the two blocks of conv2, conv3 and conv4, and the names.

    ``nested`` names are OSNet-AIN's: ``conv2.1.layers.0`` and ``pool2`` instead of ``conv2b.0`` and ``conv2.2``.
    """

    stem: Callable[[Builder, Tensor, str], Tensor]
    norms: tuple[tuple[BlockNorm, BlockNorm], ...]
    nested: bool = False

    def name_layer(self, stream: int, layer: int) -> str:
        """Return the name of a stream's layer within its block, by position."""
        plain = f"conv2{'abcd'[stream]}" + (f".{layer}" if stream else "")
        return f"conv2.{stream}.layers.{layer}" if self.nested else plain


PLAIN = Variant(batch_norm, (("", ""), ("", ""), ("", "")))
IBN = Variant(instance_norm, (("sum", "sum"), ("", ""), ("", "")))


class OSNet(Backbone):
    """A FastReID OSNet: ``depth`` is its width, and ``with_ibn`` adds instance norms to conv1 and conv2."""

    FAMILY: ClassVar[str] = "OSNet"
    KEYS: ClassVar[Mapping[str, str]] = {"DEPTH": "depth", "WITH_IBN": "with_ibn"}
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH", "WITH_IBN")

    name: Literal["build_osnet_backbone"] = "build_osnet_backbone"
    depth: Width
    with_ibn: bool = False

    @property
    def title(self) -> str:
        """A name for messages: ``osnet x1_0 ibn``."""
        return f"osnet {self.depth}{' ibn' if self.with_ibn else ''}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return CHANNELS[self.depth][-1]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer width and IBN from names and sizes."""
        width = find_width(arrays, "backbone.")
        if width is None or "backbone.conv2.0.conv2a.conv1.weight" not in arrays:
            return None
        return cls(depth=width, with_ibn="backbone.conv1.bn.running_mean" not in arrays)

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 16, W / 16)`` of pixels ``(3, H, W)``."""
        return build_osnet(b, x, self.depth, IBN if self.with_ibn else PLAIN, "backbone.")


def find_width(arrays: Mapping[str, Array], prefix: str) -> Width | None:
    """Infer the width from the size of the first norm; None if no OSNet has it."""
    norm = arrays.get(f"{prefix}conv1.bn.weight")
    return None if norm is None else {channels[0]: width for width, channels in CHANNELS.items()}.get(norm.size)


def build_osnet(b: Builder, x: Tensor, width: Width, variant: Variant, prefix: str) -> Tensor:
    """Build the feature map of an OSNet whose names begin with ``prefix``."""
    first, *stages = CHANNELS[width]
    x = convolve(b, x, f"{prefix}conv1.conv", first, 7, stride=2, padding=3)
    x = relu(b, variant.stem(b, x, f"{prefix}conv1.bn"), f"{prefix}conv1.relu")
    x = b.add(f"{prefix}maxpool", MaxPool(3, 2, padding=1), x)
    for i, (channels, norms) in enumerate(zip(stages, variant.norms, strict=True), 2):
        for j, norm in enumerate(norms):
            x = _block(b, x, f"{prefix}conv{i}.{j}", channels, norm, variant)
        if i < 4:
            name = f"{prefix}pool{i}" if variant.nested else f"{prefix}conv{i}.2"
            x = relu(b, _pointwise(b, x, f"{name}.0", channels), f"{name}.0.relu")
            x = b.add(f"{name}.1", AveragePool(2, 2), x)
    return relu(b, _pointwise(b, x, f"{prefix}conv5", stages[-1]), f"{prefix}conv5.relu")


def _block(b: Builder, x: Tensor, name: str, channels: int, norm: BlockNorm, variant: Variant) -> Tensor:
    """Build a residual block: a 1x1 convolution, the sum of the gated streams, a 1x1 convolution, the shortcut."""
    middle = channels // 4
    y = relu(b, _pointwise(b, x, f"{name}.conv1", middle), f"{name}.conv1.relu")
    total = _stream(b, y, name, 0, variant)
    for i in range(1, 4):
        total = b.add(f"{name}.sum.{i}", Add(), total, _stream(b, y, name, i, variant))
    if norm == "branch":
        y = instance_norm(b, convolve(b, total, f"{name}.conv3.conv", channels, 1), f"{name}.IN")
    else:
        y = _pointwise(b, total, f"{name}.conv3", channels)
    shortcut = x if x.shape[0] == channels else _pointwise(b, x, f"{name}.downsample", channels)
    y = b.add(f"{name}.add", Add(), y, shortcut)
    return relu(b, instance_norm(b, y, f"{name}.IN") if norm == "sum" else y, f"{name}.relu")


def _stream(b: Builder, x: Tensor, block: str, stream: int, variant: Variant) -> Tensor:
    """Build a stream: ``stream + 1`` pairs of a 1x1 and a depthwise 3x3 convolution, then the block's gate."""
    channels = x.shape[0]
    for i in range(stream + 1):
        name = f"{block}.{variant.name_layer(stream, i)}"
        x = convolve(b, x, f"{name}.conv1", channels, 1)
        x = convolve(b, x, f"{name}.conv2", channels, 3, padding=1, groups=channels)
        x = relu(b, batch_norm(b, x, f"{name}.bn"), f"{name}.relu")
    gate = f"{block}.gate.{stream}"
    names, arrays = ((f"{part}.fc1", f"{part}.fc2") for part in (gate, f"{block}.gate"))
    return gate_channels(b, x, gate, channels // 16, names, relu, sigmoid, arrays)


def _pointwise(b: Builder, x: Tensor, name: str, channels: int) -> Tensor:
    """Build a 1x1 convolution and a batch norm."""
    return batch_norm(b, convolve(b, x, f"{name}.conv", channels, 1), f"{name}.bn")

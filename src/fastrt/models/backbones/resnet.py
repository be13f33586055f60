"""ResNet 18 to 152, plain and distill, with IBN-a, non-local blocks and SE; each variant is a row of a table.

Source: fastreid/modeling/backbones/resnet.py; projects/FastDistill/fastdistill/resnet_distill.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, MaxPool, Relu
from fastrt.models.backbones import resnet_versions as versions
from fastrt.models.backbones.base import Backbone, count_blocks
from fastrt.models.layers import batch_norm, convolve, instance_batch_norm, squeeze_excite, stack_blocks

if TYPE_CHECKING:
    from typing_extensions import Self

PLANES = (64, 128, 256, 512)
BASIC = {"18x": (2, 2, 2, 2), "34x": (3, 4, 6, 3)}
BOTTLENECK = {"50x": (3, 4, 6, 3), "101x": (3, 4, 23, 3), "152x": (3, 8, 36, 3)}
"""Blocks of the four layers, by depth: of two 3x3 convolutions, or of 1x1, 3x3 and 1x1."""

STEM = ("backbone.conv1", "backbone.bn1", "backbone.relu", "backbone.maxpool")
FIRST_DENSE = 64 * 64 * 3 * 3
"""Size of ``layer1.0.conv2.weight``; a ResNeXt's is ``128 * 4 * 3 * 3``, and a ResNeSt has none."""


class ResNet(Backbone):
    """A FastReID ResNet.

    ``auto`` is inferred from the checkpoint; see `migrate`.

    Attributes:
        name: the plain ResNet, or the one of FastReID's FastDistill project, whose blocks begin with their ReLU.
        norm: all four are the same affine map at inference.
        depth: ``18x`` to ``152x``.
        last_stride: stride of layer4.
        with_ibn: IBN-a in layer1 to layer3.
        with_se: squeeze-and-excitation in every block.
        with_nl: non-local blocks in layer2 and layer3 of depth 50 and more.
        maxpool: the stem's max pooling: ``ceil`` (FastReID since 2020-11-06) or ``pad1`` (before).
        basic_block_se: SE layers of depths 18 and 34: ``applied`` (FastReID since 2021-01-04) or ``ignored`` (before).
    """

    FAMILY: ClassVar[str] = "ResNet"
    KEYS: ClassVar[Mapping[str, str]] = {
        field.upper(): field
        for field in ("depth", "last_stride", "with_ibn", "with_se", "with_nl", "maxpool", "basic_block_se")
    }
    """MAXPOOL and BASIC_BLOCK_SE are fastrt's own."""
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH", "WITH_IBN", "WITH_SE", "WITH_NL")

    name: Literal["build_resnet_backbone", "build_resnet_backbone_distill"] = "build_resnet_backbone"
    depth: Literal["18x", "34x", "50x", "101x", "152x"] = "50x"
    last_stride: Literal[1, 2] = 1
    with_ibn: bool = False
    with_se: bool = False
    with_nl: bool = False
    maxpool: Literal["auto", "ceil", "pad1"] = "auto"
    basic_block_se: Literal["auto", "applied", "ignored"] = "auto"

    @property
    def distill(self) -> bool:
        """True if blocks begin with their ReLU, as in FastReID's FastDistill project."""
        return self.name == "build_resnet_backbone_distill"

    @property
    def title(self) -> str:
        """A name for messages: ``resnet 50 distill ibn nl``."""
        parts = {"distill": self.distill, "ibn": self.with_ibn, "se": self.with_se, "nl": self.with_nl}
        return " ".join([f"resnet {self.depth.rstrip('x')}", *(name for name, present in parts.items() if present)])

    @property
    def bottleneck(self) -> bool:
        """True for blocks of three convolutions."""
        return self.depth in BOTTLENECK

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of blocks of each layer."""
        return (BASIC | BOTTLENECK)[self.depth]

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return PLANES[-1] * (4 if self.bottleneck else 1)

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer depth, IBN, SE and non-local blocks from names."""
        weight = arrays.get("backbone.layer1.0.conv2.weight")
        if weight is None or weight.size != FIRST_DENSE:
            return None
        depths = BOTTLENECK if any(name.endswith(".conv3.weight") for name in arrays) else BASIC
        for depth in (depth for depth, blocks in depths.items() if blocks == count_blocks(arrays)):
            variants = {"with_ibn": ".bn1.IN.", "with_se": ".se.fc.", "with_nl": "backbone.NL_"}
            return cls(depth=depth, **{field: any(part in name for name in arrays) for field, part in variants.items()})
        return None

    def settle(self) -> ResNet:
        """Fill in the open settings with the defaults of current FastReID."""
        return self.replace(maxpool="ceil", basic_block_se="applied")

    def migrate(self, arrays: Mapping[str, Array], version: str) -> tuple[Backbone, Mapping[str, Array]]:
        """Infer non-local blocks, max pooling and SE from the checkpoint; names need no change."""
        return versions.infer_settings(self, arrays, version), arrays

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of pixels ``(3, H, W)``."""
        non_locals = versions.count_non_locals(self, b.parameters.arrays)
        x = stack_blocks(b, self.build_stem(b, x), self.blocks, non_locals, self.build_block)
        return b.add("backbone.last_relu", Relu(), x) if self.distill else x

    def build_stem(self, b: Builder, x: Tensor, names: tuple[str, ...] = STEM) -> Tensor:
        """Build convolution, norm, ReLU and max pooling with these ``names``: ``(64, H / 4, W / 4)``."""
        conv, norm, relu, maxpool = names
        x = batch_norm(b, convolve(b, x, conv, 64, 7, stride=2, padding=3), norm)
        pool = MaxPool(3, 2, padding=1) if self.maxpool == "pad1" else MaxPool(3, 2, ceil=True)
        return b.add(maxpool, pool, b.add(relu, Relu(), x))

    def build_block(self, b: Builder, x: Tensor, name: str, layer: int, i: int) -> Tensor:
        """Build block ``i`` (from 0) of ``layer`` (1 to 4) from the arrays under ``name``."""
        planes = PLANES[layer - 1]
        stride = (1, 2, 2, self.last_stride)[layer - 1] if i == 0 else 1
        if self.bottleneck:
            convolutions = [(planes, 1, 1), (planes, 3, stride), (4 * planes, 1, 1)]  # channels, kernel, stride
        else:
            convolutions = [(planes, 3, stride), (planes, 3, 1)]
        y = x = b.add(f"{name}.pre_relu", Relu(), x) if self.distill else x
        for nth, (channels, kernel, step) in enumerate(convolutions, 1):
            if nth > 1:
                y = b.add(f"{name}.relu{nth - 1}", Relu(), y)
            y = convolve(b, y, f"{name}.conv{nth}", channels, kernel, step, padding=kernel // 2)
            norm = instance_batch_norm if self.with_ibn and layer < 4 and nth == 1 else batch_norm
            y = norm(b, y, f"{name}.bn{nth}")
        if self.with_se:
            applied = self.basic_block_se != "ignored"
            y = (squeeze_excite if applied else versions.ignore_squeeze_excite)(b, y, f"{name}.se")
        # Unlike FastRT: a stride alone also needs the downsampling convolution, as in PyTorch.
        if stride != 1 or x.shape != y.shape:
            x = batch_norm(b, convolve(b, x, f"{name}.downsample.0", y.shape[0], 1, stride), f"{name}.downsample.1")
        y = b.add(f"{name}.add", Add(), y, x)
        return y if self.distill else b.add(f"{name}.relu", Relu(), y)

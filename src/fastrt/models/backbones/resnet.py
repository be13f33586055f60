"""ResNet 18 to 152, plain and distill, with IBN-a, non-local blocks and SE; each variant is a row of a table.

Source: fastreid/modeling/backbones/resnet.py; projects/FastDistill/fastdistill/resnet_distill.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, MaxPool, Relu
from fastrt.models.backbones.base import Backbone, count_blocks, logger
from fastrt.models.layers import (
    batch_norm,
    convolve,
    instance_batch_norm,
    non_local,
    squeeze_excite,
)

if TYPE_CHECKING:
    from typing_extensions import Self

PLANES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Stages:
    """The four layers of a depth: number and variant of blocks, number of non-local blocks.

    The number of non-local blocks is None if FastReID has none; the checkpoint's is used.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    non_locals: tuple[int, int, int, int] | None

    @property
    def expansion(self) -> int:
        """Output channels of a block, divided by its planes."""
        return 4 if self.bottleneck else 1


STAGES = {
    "18x": Stages((2, 2, 2, 2), bottleneck=False, non_locals=(0, 0, 0, 0)),
    "34x": Stages((3, 4, 6, 3), bottleneck=False, non_locals=(0, 0, 0, 0)),
    "50x": Stages((3, 4, 6, 3), bottleneck=True, non_locals=(0, 2, 3, 0)),
    "101x": Stages((3, 4, 23, 3), bottleneck=True, non_locals=(0, 2, 9, 0)),
    "152x": Stages((3, 8, 36, 3), bottleneck=True, non_locals=None),
}


Name = Literal["build_resnet_backbone", "build_resnet_backbone_distill"]
Depth = Literal["18x", "34x", "50x", "101x", "152x"]


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
        "DEPTH": "depth",
        "LAST_STRIDE": "last_stride",
        "WITH_IBN": "with_ibn",
        "WITH_SE": "with_se",
        "WITH_NL": "with_nl",
        "MAXPOOL": "maxpool",
        "BASIC_BLOCK_SE": "basic_block_se",
    }
    """MAXPOOL and BASIC_BLOCK_SE are fastrt's own."""
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH", "WITH_IBN", "WITH_SE", "WITH_NL")

    name: Name = "build_resnet_backbone"
    depth: Depth = "50x"
    last_stride: Literal[1, 2] = 1
    with_ibn: bool = False
    with_se: bool = False
    with_nl: bool = False
    maxpool: Literal["auto", "ceil", "pad1"] = "auto"
    basic_block_se: Literal["auto", "applied", "ignored"] = "auto"

    @field_validator("depth", mode="before")
    @classmethod
    def _name_depth(cls, depth: object) -> object:
        """Convert the integer 50, as in configs before 2020-07-30, to ``50x``."""
        whole = (isinstance(depth, int) and not isinstance(depth, bool)) or (isinstance(depth, str) and depth.isdigit())
        return f"{depth}x" if whole else depth

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
    def stages(self) -> Stages:
        """The table row of the depth."""
        return STAGES[self.depth]

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return PLANES[-1] * self.stages.expansion

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer depth, IBN, SE and non-local blocks from names."""
        bottleneck = any(re.fullmatch(r"backbone\.layer\d\.\d+\.conv3\.weight", name) for name in arrays)
        blocks = count_blocks(arrays)
        for depth, stages in STAGES.items():
            if stages.blocks == blocks and stages.bottleneck == bottleneck:
                return cls(
                    depth=depth,
                    with_ibn=any(".bn1.IN." in name for name in arrays),
                    with_se=any(".se.fc." in name for name in arrays),
                    with_nl=any(name.startswith("backbone.NL_") for name in arrays),
                )
        return None

    def settle(self) -> ResNet:
        """Fill in the open settings with the defaults of current FastReID."""
        return self.replace(maxpool="ceil", basic_block_se="applied")

    def migrate(self, arrays: Mapping[str, Array], version: str) -> tuple[Backbone, Mapping[str, Array]]:
        """Infer non-local blocks, max pooling and SE from the checkpoint; names need no change."""
        settled = self.replace(
            with_nl=_find_non_local(self, arrays),
            maxpool=_find_max_pool(self, arrays, version),
            basic_block_se=_find_basic_block_se(self, version),
        )
        return settled, arrays

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of pixels ``(3, H, W)``."""
        stages = self.stages
        x = convolve(b, x, "backbone.conv1", 64, 7, stride=2, padding=3)
        x = b.add("backbone.relu", Relu(), batch_norm(b, x, "backbone.bn1"))
        pool = MaxPool(3, 2, padding=1) if self.maxpool == "pad1" else MaxPool(3, 2, ceil=True)
        x = b.add("backbone.maxpool", pool, x)
        non_locals = self._count_non_locals(b.parameters.arrays)
        for layer, blocks in enumerate(stages.blocks, 1):
            for i in range(blocks):
                stride = (1, 2, 2, self.last_stride)[layer - 1] if i == 0 else 1
                ibn = self.with_ibn and layer < 4
                x = self._block(b, x, f"backbone.layer{layer}.{i}", PLANES[layer - 1], stride, ibn=ibn)
                nth = i - (blocks - non_locals[layer - 1])
                if nth >= 0:
                    x = non_local(b, x, f"backbone.NL_{layer}.{nth}")
        return b.add("backbone.last_relu", Relu(), x) if self.distill else x

    def _count_non_locals(self, arrays: Mapping[str, Array]) -> tuple[int, ...]:
        stages = self.stages
        if not self.with_nl:
            return (0, 0, 0, 0)
        if stages.non_locals is not None:
            return stages.non_locals
        counts = tuple(
            sum(f"backbone.NL_{layer}.{i}.g.weight" in arrays for i in range(blocks))
            for layer, blocks in enumerate(stages.blocks, 1)
        )
        return counts if any(counts) else (0, 0, 1, 0)  # without any, the first one is reported as missing

    def _block(self, b: Builder, x: Tensor, name: str, planes: int, stride: int, *, ibn: bool) -> Tensor:
        """Build a residual block. Distill applies the ReLU to the input, plain applies it to the output."""
        stages = self.stages
        channels = planes * stages.expansion
        if self.distill:
            x = b.add(f"{name}.pre_relu", Relu(), x)
        if stages.bottleneck:
            convolutions = [(planes, 1, 1), (planes, 3, stride), (channels, 1, 1)]  # channels, kernel, stride
        else:
            convolutions = [(planes, 3, stride), (planes, 3, 1)]
        y = x
        for i, (width, kernel, step) in enumerate(convolutions, 1):
            if i > 1:
                y = b.add(f"{name}.relu{i - 1}", Relu(), y)
            norm = instance_batch_norm if ibn and i == 1 else batch_norm
            y = norm(b, convolve(b, y, f"{name}.conv{i}", width, kernel, step, padding=kernel // 2), f"{name}.bn{i}")
        if self.with_se:
            y = self._squeeze_excite(b, y, f"{name}.se")
        # Unlike FastRT: a stride alone also needs the downsampling convolution, as in PyTorch.
        if stride != 1 or x.shape[0] != channels:
            x = convolve(b, x, f"{name}.downsample.0", channels, 1, stride)
            x = batch_norm(b, x, f"{name}.downsample.1")
        y = b.add(f"{name}.add", Add(), y, x)
        return y if self.distill else b.add(f"{name}.relu", Relu(), y)

    def _squeeze_excite(self, b: Builder, y: Tensor, name: str) -> Tensor:
        if self.basic_block_se == "ignored":  # the checkpoint must still have the arrays, in their shapes
            channels = y.shape[0]
            b.take(f"{name}.fc.0.weight", (channels // 16, channels))
            b.take(f"{name}.fc.2.weight", (channels, channels // 16))
            return y
        return squeeze_excite(b, y, name)


def _find_non_local(backbone: ResNet, arrays: Mapping[str, Array]) -> bool:
    if not backbone.distill:  # for a plain ResNet the config decides; anything else is an error
        return backbone.with_nl
    stored = any(name.startswith("backbone.NL_") for name in arrays)
    if stored and not backbone.with_nl:
        logger.warning("WITH_NL is False, but the checkpoint has non-local blocks: they are built, as in FastRT")
    if backbone.with_nl and not stored and backbone.stages.bottleneck:
        logger.warning(
            "WITH_NL is True, but the checkpoint has no non-local blocks: none are built, as in FastReID's distill"
            " ResNet"
        )
    return stored


def _find_max_pool(backbone: ResNet, arrays: Mapping[str, Array], version: str) -> str:
    if backbone.maxpool != "auto":
        return backbone.maxpool
    if version == "A":
        logger.warning(
            "max pooling is padded by one (pad1), as in FastReID before 2020-11-06, when the checkpoint was trained"
        )
        return "pad1"
    if version == "C":
        return "ceil"
    widths = {arrays[name].size for name in arrays if re.fullmatch(r"backbone\.NL_\d\.\d+\.g\.bias", name)}
    if version == "B" and widths and widths != {1}:  # 2020-09-10 to 2020-12-07, mostly before 2020-11-06
        logger.warning(
            "the checkpoint is from autumn 2020, and its names do not show whether max pooling was padded (until"
            " 2020-11-06): pad1 is assumed; if embeddings look wrong, set maxpool to ceil"
        )
        return "pad1"
    # One inner channel proves 2020-12-07 or later only with the neck name that exists since 2020-09-10.
    if version == "B" and not (widths and "heads.bottleneck.0.running_var" in arrays):
        logger.warning(
            "the checkpoint is older than 2021-03-23, and its names do not show whether max pooling was padded"
            " (until 2020-11-06): ceil is assumed; if it was trained before that, set maxpool to pad1"
        )
    if version == "?":
        logger.warning(
            "the checkpoint has no classifier, so its version is unknown: max pooling ceil is assumed; if it was"
            " trained before 2020-11-06, set maxpool to pad1"
        )
    return "ceil"


def _find_basic_block_se(backbone: ResNet, version: str) -> str:
    if backbone.basic_block_se != "auto":
        return backbone.basic_block_se
    if not backbone.with_se or backbone.stages.bottleneck or backbone.distill or version == "C":
        return "applied"
    if version == "A":
        logger.warning(
            "SE layers are stored but not applied, as in FastReID before 2021-01-04, when the checkpoint was trained"
        )
        return "ignored"
    logger.warning(
        "the checkpoint's names do not show whether SE layers were applied (since 2021-01-04): they are; if it was"
        " trained before that, set basic_block_se to ignored"
    )
    return "applied"

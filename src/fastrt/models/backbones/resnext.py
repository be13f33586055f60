"""ResNeXt 50 and 101 (32x4d), with IBN-a and non-local blocks.

Source: fastreid/modeling/backbones/resnext.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, MaxPool
from fastrt.models.activations import relu
from fastrt.models.backbones.base import Backbone, count_blocks, logger
from fastrt.models.backbones.resnet_versions import choose_first_norm
from fastrt.models.layers import batch_norm, convolve, stack_blocks

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCKS = {"50x": (3, 4, 6, 3), "101x": (3, 4, 23, 3)}
NON_LOCALS = (0, 2, 3, 0)
PLANES = (64, 128, 256, 512)
CARDINALITY = 32
FIRST_GROUPED = 128 * 4 * 3 * 3
"""Size of ``layer1.0.conv2.weight``; a ResNet's is ``64 * 64 * 3 * 3``."""


class ResNeXt(Backbone):
    """A FastReID ResNeXt.

    Attributes:
        name: FastReID's builder.
        norm: all four are the same affine map at inference.
        depth: ``50x`` or ``101x``.
        last_stride: stride of layer4.
        with_ibn: IBN-a in all layers; in layer1 to layer3 only, if the checkpoint is older than 2020-09-10.
        with_nl: non-local blocks in layer2 and layer3.
    """

    FAMILY: ClassVar[str] = "ResNeXt"
    KEYS: ClassVar[Mapping[str, str]] = {
        "DEPTH": "depth",
        "LAST_STRIDE": "last_stride",
        "WITH_IBN": "with_ibn",
        "WITH_NL": "with_nl",
    }
    INFERRED: ClassVar[tuple[str, ...]] = ("DEPTH", "WITH_IBN", "WITH_NL")

    name: Literal["build_resnext_backbone"] = "build_resnext_backbone"
    depth: Literal["50x", "101x"] = "50x"
    last_stride: Literal[1, 2] = 1
    with_ibn: bool = False
    with_nl: bool = False

    @field_validator("depth", mode="before")
    @classmethod
    def _refuse_152(cls, depth: object) -> object:
        if str(depth).removesuffix("x") == "152":
            expected = "Input should be '50x' or '101x', as FastReID itself cannot build a ResNeXt 152"
            raise PydanticCustomError("depth", expected)
        return depth

    @property
    def title(self) -> str:
        """A name for messages: ``resnext 50 ibn nl``."""
        return f"resnext {self.depth.rstrip('x')}{' ibn' if self.with_ibn else ''}{' nl' if self.with_nl else ''}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return 4 * PLANES[-1]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer depth, IBN and non-local blocks from names; the second convolution's size shows the family."""
        weight = arrays.get("backbone.layer1.0.conv2.weight")
        if weight is None or weight.size != FIRST_GROUPED:
            return None
        with_ibn = any(".bn1.IN." in name for name in arrays)
        with_nl = any(name.startswith("backbone.NL_") for name in arrays)
        for depth, blocks in BLOCKS.items():
            if blocks == count_blocks(arrays):
                return cls(depth=depth, with_ibn=with_ibn, with_nl=with_nl)
        return None

    def migrate(self, arrays: Mapping[str, Array], version: str) -> tuple[Backbone, Mapping[str, Array]]:
        """Drop the non-local blocks that FastReID did not build before 2020-09-01; names need no change."""
        if not self.with_nl or version != "A" or any(name.startswith("backbone.NL_") for name in arrays):
            return self, arrays
        logger.warning(
            "WITH_NL is True, but the checkpoint has no non-local blocks: none are built, as in FastReID's ResNeXt"
            " before 2020-09-01"
        )
        return self.replace(with_nl=False), arrays

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(2048, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of pixels ``(3, H, W)``."""
        x = batch_norm(b, convolve(b, x, "backbone.conv1", 64, 7, stride=2, padding=3), "backbone.bn1")
        x = b.add("backbone.maxpool1", MaxPool(3, 2, padding=1), relu(b, x, "backbone.relu"))
        non_locals = NON_LOCALS if self.with_nl else (0, 0, 0, 0)
        return stack_blocks(b, x, BLOCKS[self.depth], non_locals, self._block)

    def _block(self, b: Builder, x: Tensor, name: str, layer: int, i: int) -> Tensor:
        """Build a bottleneck whose 3x3 convolution has 32 groups."""
        planes = PLANES[layer - 1]
        stride = (1, 2, 2, self.last_stride)[layer - 1] if i == 0 else 1
        first_norm = choose_first_norm(b, name, layer, with_ibn=self.with_ibn)
        y = convolve(b, x, f"{name}.conv1", 2 * planes, 1)
        y = relu(b, first_norm(b, y, f"{name}.bn1"), f"{name}.relu1")
        y = convolve(b, y, f"{name}.conv2", 2 * planes, 3, stride, padding=1, groups=CARDINALITY)
        y = relu(b, batch_norm(b, y, f"{name}.bn2"), f"{name}.relu2")
        y = batch_norm(b, convolve(b, y, f"{name}.conv3", 4 * planes, 1), f"{name}.bn3")
        if i == 0:
            x = batch_norm(b, convolve(b, x, f"{name}.downsample.0", 4 * planes, 1, stride), f"{name}.downsample.1")
        return relu(b, b.add(f"{name}.add", Add(), y, x), f"{name}.relu")

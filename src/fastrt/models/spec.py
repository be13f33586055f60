"""ModelSpec: what a network is described by, whatever age and dialect the description has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastrt.errors import SpecError
from fastrt.models.heads import HEADS, POOLS
from fastrt.models.meta_architectures import META_ARCHITECTURES
from fastrt.models.named import name_in

Backbone = Literal["build_resnet_backbone", "build_resnet_backbone_distill"]
Head = Annotated[str, name_in(HEADS)]
Depth = Literal["18x", "34x", "50x", "101x", "152x"]
Norm = Literal["BN", "syncBN", "GhostBN", "FrozenBN"]
Pool = Annotated[str, name_in(POOLS)]
MetaArchitecture = Annotated[str, name_in(META_ARCHITECTURES)]
Pixels = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class ModelSpec(BaseModel):
    """A re-identification model, in FastReID's terms.

    ``auto`` and None leave a question to the checkpoint: its names answer it when the network is built, and what they
    cannot tell is decided and said aloud.

    Attributes:
        meta_architecture: how backbone and head are joined.
        backbone: the topology, by FastReID's builder.
        depth: ``18x`` to ``152x``.
        last_stride: stride of layer4.
        norm: all four are the same affine map at inference.
        with_ibn: IBN-a in layer1 to layer3.
        with_se: squeeze-and-excitation in every block.
        with_nl: non-local blocks in layer2 and layer3 of depth 50 and more.
        head: the three old names are those of before 2020-09-10.
        pool_layer: how a feature map becomes a vector.
        embedding_dim: width of the head's reducing convolution; 0 for none.
        with_bnneck: a batch norm at the end of the head; None for what the checkpoint has.
        image_size: ``(H, W)`` of the network's input, in pixels.
        pixel_mean: subtracted from the pixels, 0 to 255, R, G, B.
        pixel_std: what they are then divided by, R, G, B.
        maxpool: the stem's max pooling: ``ceil`` (FastReID since 2020-11-06) or ``pad1`` (before).
        basic_block_se: whether depths 18 and 34 apply their SE layers, as FastReID does since 2021-01-04.

    Source: fastreid/config/defaults.py.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    meta_architecture: MetaArchitecture = "Baseline"
    backbone: Backbone = "build_resnet_backbone"
    depth: Depth = "50x"
    last_stride: Literal[1, 2] = 1
    norm: Norm = "BN"
    with_ibn: bool = False
    with_se: bool = False
    with_nl: bool = False
    head: Head = "EmbeddingHead"
    pool_layer: Pool = "GlobalAvgPool"
    embedding_dim: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    with_bnneck: bool | None = None
    image_size: tuple[Pixels, Pixels] = (256, 128)
    pixel_mean: tuple[Finite, Finite, Finite] = (123.675, 116.28, 103.53)
    pixel_std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375)
    maxpool: Literal["auto", "ceil", "pad1"] = "auto"
    basic_block_se: Literal["auto", "applied", "ignored"] = "auto"

    def __init__(self, **values: Any) -> None:
        """Validate.

        Raises:
            SpecError: a value that is none of what is known; the message says which and what is.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SpecError(_sentence(error)) from None

    @property
    def distill(self) -> bool:
        """Whether blocks take their ReLU first, as in FastReID's FastDistill project."""
        return self.backbone.endswith("_distill")

    @property
    def layers(self) -> int:
        """The depth as a number: 50."""
        return int(self.depth.rstrip("x"))

    @property
    def title(self) -> str:
        """A name for messages: ``resnet 50 distill ibn nl``."""
        parts = {"distill": self.distill, "ibn": self.with_ibn, "se": self.with_se, "nl": self.with_nl}
        return " ".join([f"resnet {self.layers}", *(name for name, present in parts.items() if present)])

    def replace(self, **values: Any) -> ModelSpec:
        """The same spec with some values changed, validated again."""
        return ModelSpec(**{**self.model_dump(), **values})


def _sentence(error: ValidationError) -> str:
    found = []
    for fault in error.errors(include_url=False):
        where = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            known = ", ".join(ModelSpec.model_fields)
            found.append(f"{where} is not a key of a spec; known are {known}")
        else:
            message = fault["msg"].removeprefix("Input ").replace("should be", "must be")
            found.append(f"{where} is {fault['input']!r}, but {message}")
    return "spec: " + "; ".join(found)

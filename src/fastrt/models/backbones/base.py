"""The base class of backbones: settings, and the code that builds the layers from them.

A family is one subclass in one file, with its rows in `fastrt.models.backbones.table`. The file has its settings,
config keys and layers, the detection from a checkpoint's names, and the differences between FastReID's versions.
"""

from __future__ import annotations

import difflib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from fastrt.arrays import Array
from fastrt.errors import SpecError
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("fastrt")

Norm = Literal["BN", "syncBN", "GhostBN", "FrozenBN"]
"""FastReID's batch norms; at inference all are the same affine map."""

GROUP = "MODEL.BACKBONE"

FAMILY_KEYS: Mapping[str, object] = {
    "DEPTH": "50x",
    "LAST_STRIDE": 1,
    "WITH_IBN": False,
    "WITH_SE": False,
    "WITH_NL": False,
    "STRIDE_SIZE": (16, 16),
}
"""Keys of ``MODEL.BACKBONE`` that only some families read, and their defaults; the other families ignore them."""

UNUSED_KEYS = (
    *("FEAT_DIM", "NORM_SPLIT", "PRETRAIN", "PRETRAIN_PATH"),
    *("DROPOUT", "DROP_PATH_RATIO", "DROP_RATIO", "ATT_DROP_RATE", "SIE_COE"),
)
"""Keys of ``MODEL.BACKBONE`` without effect at inference on any backbone; FEAT_DIM follows from the backbone."""

BLOCK = re.compile(r"backbone\.layer([1-4])\.(\d{1,4})\.")


class Backbone(BaseModel, ABC):
    """A backbone's settings.

    Attributes:
        name: FastReID's builder, ``MODEL.BACKBONE.NAME``.
        norm: the batch norm, ``MODEL.BACKBONE.NORM``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    FAMILY: ClassVar[str]
    """The family's name in messages: ``ResNet``."""

    KEYS: ClassVar[Mapping[str, str]]
    """Keys of ``MODEL.BACKBONE`` that the family reads besides NAME and NORM, and their fields."""

    INFERRED: ClassVar[tuple[str, ...]] = ()
    """The `KEYS` whose values `recognise` infers from names: ``DEPTH``. All others are asked for."""

    DEFAULTS: ClassVar[Mapping[str, object]] = {}
    """Fields of `fastrt.ModelSpec` whose defaults differ from FastReID's: the head of another library."""

    STANDARD_INPUT: ClassVar[str | None] = None
    """The family's library, if its models share one image size, mean and standard deviation: the spec's defaults.

    Without a config these are used and logged. Those of FastReID vary, so they are asked for.
    """

    RESAMPLER: ClassVar[Literal["pil-bicubic", "pil-bilinear"]] = "pil-bicubic"
    """The method that resizes images where the family is trained and evaluated."""

    USUAL: ClassVar[Mapping[str, object]] = {}
    """Fields of a spec and their values in FastReID's configs of the family, where they differ from the defaults."""

    name: str
    norm: Norm = "BN"

    @field_validator("depth", mode="before", check_fields=False)
    @classmethod
    def _name_depth(cls, depth: object) -> object:
        """Convert the integer 50, as in configs before 2020-07-30, to ``50x``."""
        whole = (isinstance(depth, int) and not isinstance(depth, bool)) or (isinstance(depth, str) and depth.isdigit())
        return f"{depth}x" if whole else depth

    @property
    @abstractmethod
    def title(self) -> str:
        """A name for messages: ``resnet 50 ibn``."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of the feature map."""

    @abstractmethod
    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, h, w)`` of standardised pixels ``(3, H, W)``."""

    @classmethod
    @abstractmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the backbone from a checkpoint's names and shapes; None if they belong to another family."""

    def migrate(
        self,
        arrays: Mapping[str, Array],
        version: str,  # noqa: ARG002
    ) -> tuple[Backbone, Mapping[str, Array]]:
        """Infer the open settings from the checkpoint, and rename its arrays to current names; log each decision.

        Args:
            arrays: the checkpoint.
            version: the checkpoint version, from `fastrt.models.versions.recognise_version`.
        """
        return self, arrays

    def settle(self) -> Backbone:
        """Fill in the open settings with the defaults of current FastReID, without a checkpoint."""
        return self

    def replace(self, **values: Any) -> Self:
        """Return the backbone with some values changed, validated again."""
        return type(self)(**{**self.model_dump(), **values})

    @classmethod
    def config_keys(cls) -> dict[str, str]:
        """Return the keys of ``MODEL.BACKBONE`` that the family reads, and their fields."""
        return {"NAME": "name", "NORM": "norm", **cls.KEYS}

    @classmethod
    def read_key(cls, key: str, value: object) -> dict[str, object]:
        """Return the field that FastReID's ``MODEL.BACKBONE.<key>`` sets; empty if the key has no effect.

        Raises:
            SpecError: neither the family nor FastReID has the key.
        """
        fields = cls.config_keys()
        if key in fields:
            return {fields[key]: value}
        if key in FAMILY_KEYS:
            if (tuple(value) if isinstance(value, list) else value) != FAMILY_KEYS[key]:
                logger.warning(
                    f"{GROUP}.{key} is {value!r}; FastReID's {cls.FAMILY} ignores this key, and so does fastrt"
                )
            return {}
        if key in UNUSED_KEYS:
            return {}
        raise unknown_key(f"{GROUP}.{key}", cls.FAMILY, [f"{GROUP}.{field}" for field in fields])


def unknown_key(key: str, owner: str, known: Sequence[str]) -> SpecError:
    """Return the error for a key that ``owner`` does not have; it names the most similar known key, or all of them."""
    leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
    near = difflib.get_close_matches(key.rpartition(".")[2], leaves, 1, 0.5)
    expected = leaves[near[0]] if near else ", ".join(known)
    return SpecError(f"{key}: unknown key of {owner}; expected {expected}. Correct or remove it.")


def count_blocks(names: Mapping[str, Array]) -> tuple[int, ...]:
    """Count the blocks of ``backbone.layer1`` to ``layer4`` by their names; zeros if there are none."""
    blocks = [0, 0, 0, 0]
    for name in names:
        if match := BLOCK.match(name):
            layer = int(match[1]) - 1
            blocks[layer] = max(blocks[layer], int(match[2]) + 1)
    return tuple(blocks)

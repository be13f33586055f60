"""The base class of meta-architectures: backbone and heads combined.

One is a subclass in a file, with its row in `fastrt.models.meta_architectures.table`. It has no settings of its own.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.models.backbones.base import Backbone
from fastrt.models.heads import Head

logger = logging.getLogger("fastrt")


class MetaArchitecture(ABC):
    """A combination of backbone and heads.

    Attributes:
        heads: the heads by their names in checkpoints; their embeddings have the same width.
    """

    heads: tuple[str, ...] = ("heads",)

    @abstractmethod
    def build(self, b: Builder, x: Tensor, backbone: Backbone, head: Head) -> Tensor:
        """Build the embedding ``(D, 1, 1)`` of standardised pixels ``(3, H, W)``."""

    def recognise(self, arrays: Mapping[str, Array]) -> bool:  # noqa: ARG002
        """Return True if a checkpoint's names show this one, and not a Baseline."""
        return False

    def refuse(self, backbone: Backbone) -> str | None:  # noqa: ARG002
        """Return the error for a backbone that it cannot have: ``<found>, expected <what>``; None for others."""
        return None

    def view(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return a checkpoint with the names of a Baseline: one backbone, one head. Settings are inferred from it."""
        return arrays

    def migrate(
        self, backbone: Backbone, arrays: Mapping[str, Array], version: str
    ) -> tuple[Backbone, Mapping[str, Array]]:
        """Infer the backbone's open settings, and rename arrays to current names; see `Backbone.migrate`."""
        return backbone.migrate(arrays, version)

    def find_head(self, arrays: Mapping[str, Array]) -> dict[str, object]:  # noqa: ARG002
        """Return the spec's fields of a head that only this one has; log them. Empty if the checkpoint has another."""
        return {}

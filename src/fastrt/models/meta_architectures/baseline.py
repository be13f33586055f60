"""Baseline: one backbone, one head.

Source: fastreid/modeling/meta_arch/baseline.py.
"""

from __future__ import annotations

from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.models.backbones.base import Backbone
from fastrt.models.heads import Head
from fastrt.models.meta_architectures.base import MetaArchitecture


class Baseline(MetaArchitecture):
    """One backbone, one head."""

    def build(self, b: Builder, x: Tensor, backbone: Backbone, head: Head) -> Tensor:
        """Build the head's embedding of the backbone's feature map."""
        return head.build(b, backbone.build(b, x), self.heads[0])

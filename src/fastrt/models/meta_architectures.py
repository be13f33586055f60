"""Meta-architectures: backbone and head combined; standardised pixels to an embedding ``(D, 1, 1)``."""

from __future__ import annotations

from collections.abc import Callable

from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.models.backbones.base import Backbone
from fastrt.models.heads import Head


def build_baseline(b: Builder, x: Tensor, backbone: Backbone, head: Head) -> Tensor:
    """Baseline: one backbone, one head.

    Source: fastreid/modeling/meta_arch/baseline.py.
    """
    return head.build(b, backbone.build(b, x))


META_ARCHITECTURES: dict[str, Callable[[Builder, Tensor, Backbone, Head], Tensor]] = {"Baseline": build_baseline}
"""Meta-architectures by FastReID's ``MODEL.META_ARCHITECTURE``."""

TRAINING_ONLY = {"Distiller": "Baseline", "DistillerOverhaul": "Baseline", "MoCo": "Baseline"}
"""Meta-architectures that differ from another one in training only, and the other one."""

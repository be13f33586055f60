"""The meta-architectures of fastrt."""

from __future__ import annotations

from fastrt.models.meta_architectures.base import MetaArchitecture
from fastrt.models.meta_architectures.baseline import Baseline
from fastrt.models.meta_architectures.mgn import Mgn

META_ARCHITECTURES: dict[str, MetaArchitecture] = {"Baseline": Baseline(), "MGN": Mgn()}
"""Meta-architectures by FastReID's ``MODEL.META_ARCHITECTURE``. The first is FastReID's default."""

TRAINING_ONLY = {"Distiller": "Baseline", "DistillerOverhaul": "Baseline", "MoCo": "Baseline"}
"""Meta-architectures that differ from another one in training only, and the other one."""

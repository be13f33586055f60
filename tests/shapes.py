"""Checkpoints whose arrays have the right shapes and take no time to draw: for tests of a network's structure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

import fastrt
from fastrt.arrays import Array, Shape
from fastrt.ir.builder import Builder
from fastrt.ir.parameters import Parameters
from fastrt.models.meta_architectures.table import META_ARCHITECTURES
from fastrt.models.reid import assemble


@dataclass
class _Shapes(Parameters):
    """Makes each array when it is requested."""

    made: dict[str, Array] = field(default_factory=dict)

    def take(self, name: str, shape: Shape) -> Array:
        return self.made.setdefault(name, _fill(name, shape))

    def check(self) -> None:
        """Accept everything: made arrays are valid."""


def make_shapes(spec: fastrt.ModelSpec) -> dict[str, Array]:
    """FastReID's float32 arrays of ``spec`` by name, including the classifier."""
    shapes = _Shapes({})
    spec = spec.replace(backbone=spec.backbone.settle(), with_bnneck=spec.with_bnneck is not False)
    network = assemble(Builder(shapes), spec)
    heads = META_ARCHITECTURES[spec.meta_architecture].heads
    classifier = (2, network.output.shape[0] // len(heads))
    return {**shapes.made, **{f"{head}.weight": _fill(f"{head}.weight", classifier) for head in heads}}


def _fill(name: str, shape: Shape) -> Array:
    """One number throughout, another for each name, so that arrays that are mixed up show in a fingerprint."""
    value = 3.0 if name.endswith(".p") else 1 + zlib.crc32(name.encode()) / 2**33
    return np.broadcast_to(np.float32(value), shape)

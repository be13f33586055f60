"""The runner of a loaded network that NumPy computes."""

from __future__ import annotations

from collections.abc import Mapping

from fastrt.arrays import Array, Embeddings
from fastrt.targets.base import Runner
from fastrt.targets.reference.lowering import run_reference, trace_reference


class ReferenceRunner(Runner):
    """A network that NumPy computes."""

    def run(self, batch: Array) -> Embeddings:
        return run_reference(self.engine, batch)

    def run_intermediate(self, batch: Array) -> Mapping[str, Array]:
        return trace_reference(self.engine, batch)

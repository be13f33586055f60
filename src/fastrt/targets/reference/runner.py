"""The runner of a loaded network that NumPy computes."""

from __future__ import annotations

from collections.abc import Mapping

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError
from fastrt.ir.network import Network
from fastrt.targets.base import Runner
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference.lowering import run_reference, trace_reference


class ReferenceRunner(Runner):
    """A network that NumPy computes."""

    def __init__(self, network: Network, info: EngineInfo) -> None:
        self.info = info
        self._network: Network | None = network

    def run(self, batch: Array) -> Embeddings:
        return run_reference(self._open(), batch)

    def run_tapped(self, batch: Array) -> Mapping[str, Array]:
        return trace_reference(self._open(), batch)

    def close(self) -> None:
        self._network = None

    def _open(self) -> Network:
        if self._network is None:
            raise EngineError("the session is closed; load the engine again")
        return self._network

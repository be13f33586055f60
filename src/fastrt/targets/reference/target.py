"""The reference target: NumPy computes the network in a ``.npz`` file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import numpy as np

from fastrt.errors import TargetError
from fastrt.ir.network import Network
from fastrt.passes.quantize import Placement
from fastrt.targets.base import BuildOptions, Layer, Mode, Runner, Target
from fastrt.targets.engine_info import EngineInfo, read_info
from fastrt.targets.reference.network_file import read_info_entry, read_network, write_network
from fastrt.targets.reference.runner import ReferenceRunner
from fastrt.targets.table import ROWS


class ReferenceTarget(Target, row=ROWS["reference"]):
    """The NumPy reference as a target."""

    placement: ClassVar[Placement] = Placement(
        unsigned=True, signed="int8", both_sides=False, pairs_in_int16=True, bias_in_int32=False
    )

    def version(self) -> str:
        return f"numpy {np.__version__}"

    def build(self, network: Network, path: Path, info: EngineInfo, options: BuildOptions) -> None:
        write_network(network, path, info.to_text())

    def load(self, path: Path, device: str, intermediate: Collection[str] = (), mode: Mode = "latency") -> Runner:
        if device != "cpu":
            raise TargetError(f"reference: device {device}; expected cpu")
        return ReferenceRunner(read_network(path), self.describe(path))

    def describe(self, path: Path) -> EngineInfo:
        network = read_network(path)
        shape = (-1, *network.input.shape)
        inputs = [(network.input.name, shape, network.input.dtype)]
        return read_info(read_info_entry(path), self.name, path, inputs, [(-1, *network.output.shape)])

    def layers(self, path: Path) -> list[Layer]:
        return [Layer(tensor.name, tensor.operation.kind, tensor.shape) for tensor in read_network(path)]

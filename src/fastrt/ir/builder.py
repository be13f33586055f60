"""The builder that topologies use to describe a network."""

from __future__ import annotations

from fastrt.arrays import Array, Shape
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Input, Operation
from fastrt.ir.parameters import Parameters


class Builder:
    """Collects tensors in order and takes their arrays from the checkpoint.

    Attributes:
        parameters: the checkpoint's arrays, taken by name and shape.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._tensors: list[Tensor] = []

    def input(self, name: str, shape: Shape, dtype: str = "float32") -> Tensor:
        """Add the network's input, the first tensor."""
        return self.add(name, Input(shape, dtype))

    def add(self, name: str, operation: Operation, *inputs: Tensor, exact: bool = False) -> Tensor:
        """Add the output tensor of ``operation``; an ``exact`` tensor stays float32 in every engine."""
        tensor = make_tensor(name, operation, inputs, exact=exact)
        self._tensors.append(tensor)
        return tensor

    def take(self, name: str, shape: Shape) -> Array:
        """Take the checkpoint's array ``name`` as float32; see `Parameters.take`."""
        return self.parameters.take(name, shape)

    def network(self, spec: dict[str, object]) -> Network:
        """Return the network; the last tensor added is the output.

        Raises:
            WeightsError: arrays are missing, unexpected, misshapen or not finite; the message lists all of them.
        """
        self.parameters.check()
        return Network(tuple(self._tensors), spec)

"""The builder: what topologies are written against."""

from __future__ import annotations

from fastrt.arrays import Array, Shape
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Input, Operation
from fastrt.ir.parameters import Parameters


class Builder:
    """Collects tensors in order, and asks the checkpoint for their arrays.

    Attributes:
        parameters: the checkpoint's arrays, asked for by name and shape.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._tensors: list[Tensor] = []

    def input(self, name: str, shape: Shape, dtype: str = "float32") -> Tensor:
        """The network's input; the first tensor."""
        return self.add(name, Input(shape, dtype))

    def add(self, name: str, operation: Operation, *inputs: Tensor, exact: bool = False) -> Tensor:
        """The tensor that ``operation`` makes of ``inputs``; ``exact`` if it must stay in float32 in every engine."""
        tensor = make_tensor(name, operation, inputs, exact=exact)
        self._tensors.append(tensor)
        return tensor

    def take(self, name: str, shape: Shape) -> Array:
        """The checkpoint's array ``name`` as float32; see `Parameters.take`."""
        return self.parameters.take(name, shape)

    def network(self, spec: dict[str, object], notes: tuple[str, ...] = ()) -> Network:
        """All of it, with the tensor added last as the output.

        Raises:
            WeightsError: arrays are missing, unexpected, misshapen or not finite; the message lists all of them.
        """
        self.parameters.check()
        return Network(tuple(self._tensors), spec, notes)

"""The network: a list of tensors. One operation computes each tensor from earlier tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fastrt.arrays import Shape
from fastrt.errors import NetworkError
from fastrt.ir.ops import Cast, Input, Operation

INPUT = "images"
OUTPUT = "embedding"


@dataclass(frozen=True, eq=False)
class Tensor:
    """One line of a network: ``name = operation(inputs)``, with the output's shape (per image) and dtype.

    ``exact`` marks a tensor that must stay in float32 at every precision. A network's text and fingerprint exclude the
    mark, because it does not change the values that the network computes.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    shape: Shape
    dtype: str
    exact: bool = False

    def __str__(self) -> str:
        parts = [*self.inputs, *(f"{key}={value}" for key, value in self.operation.attributes().items())]
        parts += [f"{key}[{'x'.join(map(str, array.shape))}]" for key, array in self.operation.arrays().items()]
        shape = "x".join(map(str, self.shape))
        return f"{self.name} = {self.operation.kind}({', '.join(parts)})  # {shape} {self.dtype}"


def make_tensor(name: str, operation: Operation, inputs: Sequence[Tensor], *, exact: bool = False) -> Tensor:
    """Return the output tensor of ``operation`` for ``inputs``, with inferred shape and dtype.

    Raises:
        NetworkError: the inputs do not fit the operation.
    """
    if operation.arity not in (-1, len(inputs)):
        raise NetworkError(f"{name}: {operation.kind} of {len(inputs)} tensors; expected {operation.arity}")
    try:
        shape = operation.infer(*(tensor.shape for tensor in inputs))
    except NetworkError as error:
        raise NetworkError(f"{name}: {error}") from None
    dtype = operation.dtype if isinstance(operation, Input | Cast) else inputs[0].dtype
    return Tensor(name, operation, tuple(tensor.name for tensor in inputs), shape, dtype, exact)


@dataclass(frozen=True, eq=False)
class Network:
    """A complete network; ``print(network)`` shows one tensor per line.

    Attributes:
        tensors: in topological order; the first is the input, the last the output.
        spec: the model description of the network, as plain JSON values.
    """

    tensors: tuple[Tensor, ...]
    spec: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for tensor in self.tensors:
            if tensor.name in seen:
                raise NetworkError(f"{tensor.name}: two tensors have this name; expected different names")
            if unknown := [name for name in tensor.inputs if name not in seen]:
                raise NetworkError(f"{tensor.name}: it reads {unknown[0]}; expected the names of earlier tensors")
            seen.add(tensor.name)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._by_name:
            raise NetworkError(f"{name}: no tensor of the network has this name")
        return self._by_name[name]

    def __str__(self) -> str:
        return "\n".join(map(str, self.tensors))

    @cached_property
    def _by_name(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    @property
    def input(self) -> Tensor:
        """The images."""
        return self.tensors[0]

    @property
    def output(self) -> Tensor:
        """The embedding, ``(D,)``."""
        return self.tensors[-1]

    def consumers(self) -> dict[str, list[Tensor]]:
        """Map each tensor's name to the tensors that read it; the output has none."""
        result: dict[str, list[Tensor]] = {tensor.name: [] for tensor in self.tensors}
        for tensor in self.tensors:
            for name in tensor.inputs:
                result[name].append(tensor)
        return result

    def fingerprint(self) -> str:
        """SHA-256 of operations and arrays, in hex; equal networks have equal fingerprints on every host."""
        digest = hashlib.sha256()
        for tensor in self.tensors:
            header = [tensor.name, tensor.operation.kind, tensor.inputs, tensor.operation.attributes()]
            digest.update(json.dumps(header, sort_keys=True).encode())
            for name, array in tensor.operation.arrays().items():
                digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()

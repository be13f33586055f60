"""The content of a weights file: arrays by name, and metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastrt.arrays import Array


@dataclass(frozen=True, eq=False, repr=False)
class Weights(Mapping[str, Array]):
    """The arrays of a weights file, as a mapping.

    Attributes:
        arrays: by name, in the order and with the dtypes of the file.
        source: the file's name, for messages: ``model_best.pth``.
        spec: the model's spec, if the file contains one.
    """

    arrays: dict[str, Array]
    source: str = "memory"
    spec: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        return f"Weights({self.source}: {len(self)} arrays)"

    def without_prefix(self, prefix: str) -> Weights:
        """Remove ``prefix`` from the names if every name has it (torch's DataParallel adds one)."""
        if not all(name.startswith(prefix) for name in self.arrays):
            return self
        return replace(self, arrays={name.removeprefix(prefix): array for name, array in self.arrays.items()})

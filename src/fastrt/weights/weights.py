"""The content of a weights file: arrays by name, and metadata."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastrt.arrays import Array, is_plain_array
from fastrt.errors import WeightsError
from fastrt.weights.dtypes import TORCH_DTYPES

logger = logging.getLogger("fastrt")

PREFIX = re.compile(r"((?:[^.]+\.)*?)(?:backbone|heads)\.")
"""The prefix of a name of FastReID, before its first part ``backbone`` or ``heads``."""

WRAPPERS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile, FSDP and checkpointing put before the names of any part of a model."""

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a UTF-16 pair, which no encoding of text can hold; names that are not UTF-8 are read as such."""

DATA_PARALLEL = "module."
"""The prefix of torch's DataParallel."""


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

    def without_prefixes(self) -> Weights:
        """Remove what frameworks add to the names, and log it; see `find_prefix` and `WRAPPERS`."""
        bare = self._bare_arrays()
        changed = next(((old, new) for old, new in zip(self.arrays, bare, strict=True) if old != new), None)
        prefixes = sorted(find_prefixes(bare))
        if len(prefixes) > 1:
            listed = ", ".join(prefix or "no prefix" for prefix in prefixes)
            logger.warning(f"{self.source}: names of several models, behind {listed}; all names are kept")
        if changed is None:
            return self
        logger.warning(
            f"{self.source}: what a framework put before the names is removed: {changed[0]} is read as {changed[1]}"
        )
        return replace(self, arrays=bare)

    def _bare_arrays(self) -> dict[str, Array]:
        inner = {name: WRAPPERS.sub("", name) for name in self.arrays}
        prefix = find_prefix(inner.values())
        bare = {inner[name].removeprefix(prefix): array for name, array in self.arrays.items()}
        return bare if len(bare) == len(self.arrays) else self.arrays

    def digest(self) -> str:
        """SHA-256 of names and values, in hex. It is the same in every format, and with and without prefixes.

        Values count as float32, without shape.
        """
        digest = hashlib.sha256()
        for name, array in self._bare_arrays().items():
            flat = array.reshape(-1)
            parts = flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat
            with np.errstate(over="ignore", invalid="ignore"):
                values = parts.astype("<f4")
            digest.update(json.dumps([name, values.size]).encode())
            digest.update(values.tobytes())
        return digest.hexdigest()


def check_arrays(weights: Mapping[str, Array]) -> None:
    """Raise `WeightsError` unless weights from a caller are NumPy arrays of numbers by name."""
    if not isinstance(weights, Mapping):
        raise WeightsError(f"weights: a {type(weights).__name__}; expected arrays by name. Give a mapping.")
    for name, array in weights.items():
        if not isinstance(name, str) or SURROGATE.search(name):
            raise WeightsError(f"weights: the name {name!r} of an array; expected a Unicode string. Rename the array.")
        found = array.dtype if is_plain_array(array) else type(array).__name__
        if not is_plain_array(array) or (array.dtype.kind not in "biufc" and array.dtype not in TORCH_DTYPES.values()):
            raise WeightsError(f"weights: {name} is {found}; expected an array of numbers, without a mask. Convert it.")


def find_prefix(names: Iterable[str]) -> str:
    """Find what frameworks put before FastReID's names, such as ``module.`` or ``model.student.``.

    It is all that stands before ``backbone.`` and ``heads.``, if it is the same for all such names; without such
    names, it is ``module.`` if every name has it. It is empty if there is none, or if there are several.
    """
    names = list(names)
    found = find_prefixes(names)
    if not found and names and all(name.startswith(DATA_PARALLEL) for name in names):
        return DATA_PARALLEL
    return found.pop() if len(found) == 1 else ""


def find_prefixes(names: Iterable[str]) -> set[str]:
    """Collect what stands before ``backbone.`` and ``heads.`` in names, also nothing: ``{"student.", "teacher."}``."""
    return {match[1] for match in map(PREFIX.match, names) if match}

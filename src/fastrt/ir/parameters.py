"""The checkpoint's arrays that a topology takes, and one error that lists everything wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fastrt.arrays import Array, Shape
from fastrt.errors import WeightsError


@dataclass
class Parameters:
    """Checkpoint arrays by name, each taken once.

    Attributes:
        arrays: the checkpoint.
        title: the network, for messages: ``resnet 50``.
        flat: the checkpoint's format has no shapes (``.wts``), so an array of the right size is reshaped.
        ignored: returns True for a name that may be present although no topology takes it.
    """

    arrays: Mapping[str, Array]
    title: str = "the network"
    flat: bool = False
    ignored: Callable[[str], bool] = lambda _: False
    _taken: set[str] = field(default_factory=set)
    _missing: list[str] = field(default_factory=list)
    _misshapen: list[str] = field(default_factory=list)
    _not_finite: list[str] = field(default_factory=list)
    _unusable: list[str] = field(default_factory=list)

    def take(self, name: str, shape: Shape) -> Array:
        """Take the array ``name`` of shape ``shape`` as C-contiguous float32.

        Problems are recorded for `check`, which reports all at once. An array with a problem becomes zeros.
        """
        array = self.arrays.get(name)
        if array is None:
            self._missing.append(f"{name} {shape}")
            return np.zeros(shape, np.float32)
        self._taken.add(name)
        if self.flat and array.size == np.prod(shape):
            array = array.reshape(shape)
        if array.shape != shape:
            self._misshapen.append(f"{name} {array.shape} instead of {shape}")
            return np.zeros(shape, np.float32)
        if array.dtype.kind in "cbiu":
            self.refuse(name, f"is {array.dtype}, expected real values")
            return np.zeros(shape, np.float32)
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, which is reported below
            array = np.asarray(array, np.float32, order="C")
        if not np.isfinite(array).all():
            self._not_finite.append(name)
        return array

    def refuse(self, name: str, reason: str) -> None:
        """Record an array that a layer cannot compute with, unless it has another problem already."""
        known = [text.split(" ")[0] for text in (*self._missing, *self._misshapen, *self._not_finite, *self._unusable)]
        if name not in known:
            self._unusable.append(f"{name} {reason}")

    def check(self) -> None:
        """Raise a `WeightsError` that lists every problem, if there is one."""
        unexpected = [
            f"{name} {self.arrays[name].shape}"
            for name in self.arrays
            if name not in self._taken and not self.ignored(name)
        ]
        faults = {
            "missing": self._missing,
            "unexpected": unexpected,
            "misshapen": self._misshapen,
            "with NaN or infinity": self._not_finite,
            "unusable": self._unusable,
        }
        found = {kind: names for kind, names in faults.items() if names}
        if not found:
            return
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in found.items())
        first = next(iter(found.values()))[0]
        lines = "".join(f"\n  {kind}: {name}" for kind, names in found.items() for name in names)
        raise WeightsError(
            f"weights do not fit {self.title}: {counts}, first {first};"
            f" do config and checkpoint belong together?{lines}"
        )

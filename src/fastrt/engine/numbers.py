"""Checks of the numbers that a caller gives."""

from __future__ import annotations

import math
import operator

import numpy as np

from fastrt.errors import EngineError

LARGEST_COUNT = 65536
"""Largest number of images in a batch, in memory at once."""


def check_count(value: object, where: str, most: int = LARGEST_COUNT) -> int:
    """Return a number of images as an int; NumPy's integers are taken too.

    Raises:
        EngineError: ``value`` is not a whole number from 1 to ``most``; True is refused.
    """
    try:
        count = 0 if isinstance(value, bool | np.ndarray) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if 1 <= count <= most:
        return count
    bound = f"at most {most}" if count > most else "at least 1"
    raise EngineError(f"{where} {value!r}; expected {bound}, as a whole number. Give a number of images.")


def check_seconds(value: object, where: str) -> float:
    """Return a duration as a float.

    Raises:
        EngineError: ``value`` is not a finite number of at least 0.
    """
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool | np.complexfloating)
    if is_number and 0 <= value < math.inf:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise EngineError(f"{where} {value!r}; expected a finite number of at least 0. Give a duration in seconds.")

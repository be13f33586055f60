"""Checks of arguments that a caller computed: arrays, numbers and names of methods."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeVar

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError

T = TypeVar("T")


def check_numbers(name: str, values: object, dimensions: int) -> Array:
    """Return values as an array of real numbers with ``dimensions`` axes; they keep their dtype.

    Raises:
        EvaluationError: they are not an array, have other axes, are not real numbers, or are masked.
    """
    parts = values if isinstance(values, list | tuple) else [values]
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # rows of unequal lengths, or a tensor on a GPU
        array = np.empty(0, object)
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        found = "a masked array"
    elif array.dtype.kind not in "iuf":
        found = type(values).__name__ if array.dtype.kind == "O" else f"{array.dtype} values"
    elif array.ndim != dimensions:
        found = f"shape {array.shape}"
    else:
        return array
    raise EvaluationError(
        f"{name}: {found}; expected a {dimensions}-D array of real numbers, without a mask. Convert it."
    )


def as_float(array: Array) -> Array:
    """Return numbers as float32 or wider, so that differences of unsigned integers do not wrap around."""
    return array.astype(np.result_type(array, np.float32), copy=False)


def check_whole(name: str, value: object, low: int) -> int:
    """Return a whole number. Raises `EvaluationError` for any other value, or one below ``low``."""
    number = int(value) if not isinstance(value, bool) and isinstance(value, Integral) else None
    if number is not None and number >= low:
        return number
    raise EvaluationError(f"{name} {value!r}; expected at least {low}, a whole number. Correct it.")


def check_real(name: str, value: object, low: float = -np.inf, high: float = np.inf) -> float:
    """Return a number. Raises `EvaluationError` unless it is finite and from ``low`` to ``high``."""
    try:
        number = float(value) if not isinstance(value, bool) and isinstance(value, Real) else np.nan
    except OverflowError:
        number = np.inf
    if np.isfinite(number) and low <= number <= high:
        return number
    bounds = f" from {low:g} to {high:g}" if np.isfinite(high) else f" of at least {low:g}" if np.isfinite(low) else ""
    raise EvaluationError(f"{name} {value!r}; expected a finite number{bounds}. Correct it.")


def check_choice(name: str, value: T, choices: Sequence[object]) -> T:
    """Return a name of ``choices``. Raises `EvaluationError` if it is another one."""
    if isinstance(value, str) and value in choices:
        return value
    raise EvaluationError(f"{name} {value!r}; expected {' or '.join(map(str, choices))}. Choose one of them.")

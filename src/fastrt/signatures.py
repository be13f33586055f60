"""Checks the arguments of public functions by their annotations, before the function runs."""

from __future__ import annotations

import functools
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from fastrt.errors import FastrtError

P = ParamSpec("P")
T = TypeVar("T")


def checked(error: type[FastrtError], *names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a decorator that raises ``error`` for an argument that does not fit its annotation.

    Args:
        error: the class of the error.
        names: the parameters to check; none for all.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.cache
        def hints() -> dict[str, Any]:  # at the first call, when all modules are imported
            bare = inspect.unwrap(function)
            texts = {name: bare.__annotations__[name] for name in names or signature.parameters if name != "self"}
            return typing.get_type_hints(types.SimpleNamespace(__annotations__=texts), bare.__globals__)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            _check(signature.bind(*args, **kwargs).arguments, hints(), error)
            return function(*args, **kwargs)

        return call

    return decorate


def check_fields(instance: object, error: type[FastrtError], *names: str) -> None:
    """Raise ``error`` for an attribute of a dataclass that does not fit its annotation; ``names`` as in `checked`."""
    hints = typing.get_type_hints(type(instance))
    _check(vars(instance), {name: hints[name] for name in names or hints}, error)


def _check(given: Mapping[str, object], hints: Mapping[str, Any], error: type[FastrtError]) -> None:
    for name, hint in hints.items():
        if name in given and not _fits(given[name], hint):
            raise error(f"{name}: {_quote(given[name])}; expected {_describe(hint)}. Correct the argument.")


def _fits(value: object, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if hint is None:
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        number = (int, np.integer) if hint is int else (int, float, np.integer, np.floating)
        return isinstance(value, number) and not isinstance(value, bool) and math.isfinite(value)
    if hint is str or hint is os.PathLike or origin is os.PathLike:
        kind = str if hint is str else os.PathLike
        return isinstance(value, kind) and "\0" not in str(value)
    if isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, np.ndarray):
        return _fits_items(value, origin, parts)
    if origin is Callable or getattr(origin, "__name__", "") == "Callable":
        return callable(value)
    kind = origin or hint
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True  # Any, or a protocol
    return isinstance(value, kind)


def _fits_items(value: object, origin: type, parts: tuple[Any, ...]) -> bool:
    """Check a collection, and its items if it can be read more than once. A string is not one."""
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, origin):
        return False
    is_images = parts and get_origin(parts[0]) is np.ndarray  # whose checks name the image
    if is_images or issubclass(origin, Mapping) or isinstance(value, np.ndarray) or not isinstance(value, Collection):
        return True
    return all(_fits(item, parts[0]) for item in value)


def _quote(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return f"{value!r:.60}"
    return f"of type {type(value).__name__}"


def _describe(hint: Any) -> str:
    """Describe a type in words: ``'latency' or 'throughput'``."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_describe, parts)))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    words = {
        None: "None",
        type(None): "None",
        bool: "True or False",
        int: "a whole number",
        float: "a finite number",
        str: "a string without NUL",
    }
    if hint in words:
        return words[hint]
    kind = origin or hint
    if kind is os.PathLike:
        return "a path"
    if isinstance(kind, type) and issubclass(kind, np.ndarray):
        return "an array"
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, Iterable) and parts:
        return f"a list, each of it {_describe(parts[0])}"
    if kind is Callable or getattr(kind, "__name__", "") == "Callable":
        return "a function"
    return f"a {getattr(kind, '__name__', kind)}"

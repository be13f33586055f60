"""Explains why a command failed, in one sentence."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import typer
import typer.main

from fastrt.cli.arguments import complete
from fastrt.errors import FastrtError, SpecNeededError

USAGE = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "UsageError")
"""The class of errors of usage. Typer does not export it, and its place depends on the version."""


def explain(error: Exception, words: Sequence[str], app: typer.Typer) -> str:
    """Explain an exception that ended a command.

    Args:
        error: the exception.
        words: the command's words.
        app: the command.
    """
    if isinstance(error, SpecNeededError):
        return f"{error}\n  {complete(words, error.options)}"
    if isinstance(error, FastrtError):
        return str(error)
    verb = next((word for word in words if not word.startswith("-")), None)
    group: Any = typer.main.get_command(app)
    command = group.commands.get(verb)
    where = "fastrt" if command is None else f"fastrt {verb}"
    if isinstance(error, USAGE):
        return f"{where}: {_explain_usage(error, words, group, command)}. Run {where} -h."
    if isinstance(error, MemoryError):
        return f"{where}: out of memory; expected more free memory. Use smaller batches or images, or free memory."
    if isinstance(error, OSError):
        found = error.strerror or str(error) or type(error).__name__
        place = where if error.filename is None else error.filename
        return (
            f"{place}: {found[:1].lower()}{found[1:]}; expected a place to read from or write to."
            " Check the path, its permissions and the free space."
        )
    return (
        f"{where}: internal error: {type(error).__name__}: {error}; expected none."
        " Please report it with the output of --debug."
    )


def _explain_usage(error: Any, words: Sequence[str], group: Any, command: Any) -> str:
    """Say what was found and expected; without the classes of Typer, as their places depend on its version."""
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    if parameter is not None and command is not None:
        name = parameter.opts[-1] if parameter.param_type_name == "option" else _placeholder(parameter)
        expected = describe_values(command, parameter)
        if kind == "MissingParameter":
            return f"no {name}; expected {expected}"
        return f"{name} is {_find_value(words, parameter.opts)}; expected {expected}"
    if kind == "NoSuchOption":
        similar = f" (similar: {', '.join(sorted(error.possibilities))})" if error.possibilities else ""
        return f"unknown option {error.option_name}; expected one of its options{similar}"
    if kind == "BadOptionUsage":
        named = [p for p in command.params if error.option_name in p.opts] if command is not None else []
        has_none = "requires" in error.message
        if has_none and named:
            return f"{error.option_name} has no value; expected {describe_values(command, named[0])}"
        return f"{error.option_name} has {'no' if has_none else 'a'} value; expected {'one' if has_none else 'none'}"
    if command is None:
        unknown = next((word for word in words if not word.startswith("-")), "")
        found = f"unknown command {unknown}" if unknown else "no command"
        return f"{found}; expected {_join(list(group.commands))}"
    usage = " ".join(_placeholder(p) for p in command.params if p.param_type_name == "argument")
    found = error.message.rstrip(".").replace("Got unexpected extra argument(s)", "unexpected arguments")
    return f"{found}; expected {f'[OPTIONS] {usage}'.rstrip()}"


def describe_values(command: Any, parameter: Any) -> str:
    """Describe the values that a parameter takes, from the annotation of the verb's function."""
    hint = typing.get_type_hints(command.callback, include_extras=True)[parameter.name]
    info = next(iter(getattr(hint, "__metadata__", ())), None)
    kind = hint.__origin__ if info is not None else hint
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is list:
        (kind,) = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return _join(typing.get_args(kind))
    text = {int: "a whole number", float: "a number", Path: "a path"}.get(kind, "a word")
    low, high = getattr(info, "min", None), getattr(info, "max", None)
    bounds = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    return " ".join([text, *([f"of {' and '.join(bounds)}"] if bounds else [])])


def _find_value(words: Sequence[str], names: Sequence[str]) -> str:
    """Find the last value that was given to an option."""
    found = ""
    for i, word in enumerate(words):
        name, has_value, value = word.partition("=")
        if name in names:
            found = value if has_value else next(iter(words[i + 1 :]), "")
    return found or "empty"


def _placeholder(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _join(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last

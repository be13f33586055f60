"""Write docs/reference/cli.md from the command line's own help: part of ``make tables``.

Usage: python scripts/cli_reference.py
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import typer.main

from fastrt.cli.app import app

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"
HEAD = """# Commands

This page is generated from the command line's own help by `make tables`. Do not edit it.

Results go to stdout, progress and notes to stderr. Exit codes:

| code | meaning |
|---|---|
| 0 | done |
| 1 | measured and below the threshold: an engine that does not verify, an image that cannot be read |
| 2 | not done; one sentence on stderr says why |
| 130 | interrupted by Ctrl-C |

`--json` prints the result as [one JSON object](json.md). Without a terminal, progress is a line for each stage, and for
every 10 seconds of it.

These options are of `fastrt` itself. `--debug` and `--strict` may stand anywhere on the line.
"""


def render() -> str:
    """The page as Markdown: one section for each command."""
    group = typing.cast(Any, typer.main.get_command(app))
    commands = group.commands
    summary = [f"| [`fastrt {name}`](#fastrt-{name}) | {_cell(command.help)} |" for name, command in commands.items()]
    sections = [_section(name, command) for name, command in commands.items()]
    lines = [HEAD, *_table(group), "", "| command | purpose |", "|---|---|", *summary, "", *sections]
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(name: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not parameter.hidden]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    words = " ".join(f"{_argument(argument)}{'...' if argument.nargs < 0 else ''}" for argument in arguments)
    lines = [f"## fastrt {name}", "", command.help, "", f"    fastrt {name} [OPTIONS] {words}".rstrip(), ""]
    return "\n".join([*lines, *_table(command), ""])


def _table(command: Any) -> list[str]:
    """The arguments and options of a command, or of all commands together."""
    types = typing.get_type_hints(command.callback)
    rows = [_row(parameter, types[parameter.name]) for parameter in command.params if not parameter.hidden]
    return ["| name | value | default | meaning |", "|---|---|---|---|", *rows]


def _row(parameter: Any, annotation: Any) -> str:
    argument = parameter.param_type_name == "argument"
    names = [_argument(parameter)] if argument else sorted([*parameter.opts, *parameter.secondary_opts], key=len)
    default = "required" if parameter.required else _default(parameter)
    cells = [", ".join(f"`{name}`" for name in names), _value(parameter, annotation), default, parameter.help or ""]
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper().rstrip(".")


def _value(parameter: Any, annotation: Any) -> str:
    """The value of an option: its choices, its metavar or its Python type."""
    if parameter.metavar and parameter.param_type_name == "option":
        return f"`{parameter.metavar}`"
    return "" if getattr(parameter, "is_flag", False) else _type(annotation)


def _type(annotation: Any) -> str:
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{option}`" for option in options)
    named = [option for option in options if option is not type(None)]
    return (
        _type(named[0])
        if named
        else {"str": "text", "int": "integer", "float": "number"}.get(annotation.__name__, annotation.__name__.lower())
    )


def _default(parameter: Any) -> str:
    default = parameter.default
    if isinstance(default, bool):
        return "on" if default else ""
    return "" if default is None or default == [] else f"`{default}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), "utf-8")

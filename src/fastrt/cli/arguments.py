"""Arguments that several verbs take. Typer reads these annotations at run time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fastrt.errors import SpecError, TargetError

Checkpoint = Annotated[Path, typer.Argument(help="Checkpoint: .pth, .wts or .safetensors.", show_default=False)]
Engine = Annotated[Path, typer.Argument(help="Engine: .xml, .onnx, .npz, .engine or .rtx.", show_default=False)]
Config = Annotated[
    str | None,
    typer.Option("--config", help="FastReID's YAML, or a preset's name. Without it, the checkpoint's names decide."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY VALUE", help="Lay over the config: MODEL.BACKBONE.DEPTH 34x. Repeatable."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where to run: cpu, cuda:0, or another that the runtime finds.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def join_pairs(arguments: Sequence[str]) -> list[str]:
    """Each ``--set KEY VALUE`` as ``--set KEY=VALUE``: typer has no option that takes two words and may be repeated."""
    joined: list[str] = []
    words = iter(arguments)
    for word in words:
        joined.append(word)
        if word == "--set" and (key := next(words, None)) is not None:
            value = None if "=" in key else next(words, None)
            joined.append(key if value is None else f"{key}={value}")
    return joined


def split_pairs(overrides: Sequence[str] | None) -> list[str]:
    """``[key, value, key, value, ...]``, as `fastrt.load_spec` takes them, of ``KEY=VALUE`` each.

    Raises:
        SpecError: a key without a value.
    """
    words = []
    for pair in overrides or ():
        key, separator, value = pair.partition("=")
        if not separator:
            raise SpecError(f"--set {pair} has no value; write --set KEY VALUE")
        words += [key, value]
    return words


def split_numbers(text: str) -> tuple[int, ...]:
    """Parse the numbers of ``--batch 1,8,32``.

    Raises:
        TargetError: ``text`` is not a list of numbers.
    """
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise TargetError(
            f"--batch {text}: not a list of numbers; expected numbers with commas. Write --batch 1,8,32."
        ) from None

"""Arguments that several verbs share. Typer reads these annotations at run time."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fastrt.errors import SpecError, TargetError
from fastrt.targets.engine_info import Resampler

Checkpoint = Annotated[Path, typer.Argument(help="Checkpoint: .pth, .wts or .safetensors.", show_default=False)]
Engine = Annotated[Path, typer.Argument(help="Engine: .xml, .onnx, .npz, .engine or .rtx.", show_default=False)]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        help="FastReID's YAML, or the name of a preset. Default: the spec in the checkpoint, or beside it.",
        show_default=False,
    ),
]
Guess = Annotated[
    bool,
    typer.Option(
        "--guess", help="Without config and spec: assume FastReID's usual values of what parameter names do not show."
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="The entry of a .pth that holds the state dict: net, or state_dict.model.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY VALUE", help="Override a key of the config: MODEL.BACKBONE.DEPTH 34x. Repeatable."
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Device: cpu, cuda:0, or another one of the runtime.", show_default=False),
]
ResizedBy = Annotated[
    Resampler | None,
    typer.Option(
        "--resampler",
        help="Method by which images are resized; OpenCV's need fastrt[opencv]. Default: pil-bicubic for FastReID's"
        " models, pil-bilinear for torchreid's.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def join_pairs(arguments: Sequence[str]) -> list[str]:
    """Rewrite each ``--set KEY VALUE`` as ``--set KEY=VALUE``: Typer has no repeatable option with two values."""
    joined: list[str] = []
    words = iter(arguments)
    for word in words:
        joined.append(word)
        if word == "--set" and (key := next(words, None)) is not None:
            value = None if "=" in key else next(words, None)
            joined.append(key if value is None else f"{key}={value}")
    return joined


def complete(arguments: Sequence[str], options: Sequence[str]) -> str:
    """Return the command line of ``arguments`` with more options, to be typed as it stands."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return shlex.join(["fastrt", *arguments[:end], *options, *arguments[end:]])


def split_pairs(overrides: Sequence[str] | None) -> list[str]:
    """Split each ``KEY=VALUE`` into ``[key, value, key, value, ...]``, as `fastrt.load_spec` takes them.

    Raises:
        SpecError: a key without a value.
    """
    words = []
    for pair in overrides or ():
        key, separator, value = pair.partition("=")
        if not separator:
            raise SpecError(f"--set {pair}: no value; expected a key and a value. Write --set KEY VALUE.")
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

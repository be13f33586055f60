"""``fastrt convert``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import Checkpoint, Key
from fastrt.cli.output import say
from fastrt.models.spec_file import convert


def run(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(help="Output: .pth, .wts or .safetensors.", show_default=False)],
    key: Key = None,
) -> None:
    """Convert a checkpoint between .pth, .wts and .safetensors; keeps all arrays and names, and the spec."""
    weights = convert(checkpoint, out, key)
    say(f"{out}: {len(weights)} arrays, {sum(array.size for array in weights.values())} numbers")

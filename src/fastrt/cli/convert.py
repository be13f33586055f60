"""``fastrt convert``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import Checkpoint
from fastrt.cli.output import say
from fastrt.weights import load_weights, save_weights


def run(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(help="Output: .pth, .wts or .safetensors.", show_default=False)],
) -> None:
    """Convert a checkpoint between .pth, .wts and .safetensors; keeps all arrays and names."""
    weights = load_weights(checkpoint)
    save_weights(weights, out)
    say(f"{out}: {len(weights)} arrays, {sum(array.size for array in weights.values())} numbers")

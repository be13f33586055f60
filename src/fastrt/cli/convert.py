"""``fastrt convert``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import AsJson, Checkpoint, Key
from fastrt.cli.output import say_result
from fastrt.models.spec_file import convert


def run(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(help="Output: .pth, .wts or .safetensors.", show_default=False)],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Convert a checkpoint between .pth, .wts and .safetensors; keeps all arrays and names, and the spec."""
    weights = convert(checkpoint, out, key)
    numbers = sum(array.size for array in weights.values())
    result = {"output": out, "arrays": len(weights), "numbers": numbers}
    say_result(result, f"{out}: {len(weights)} arrays, {numbers} numbers", as_json)

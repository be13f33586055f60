"""``fastrt demo``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastrt.cli.output import result_console, say
from fastrt.demo import demonstrate


def run(
    folder: Annotated[Path, typer.Option("-o", "--output", help="Where the files go; made if missing.")] = Path(
        "fastrt-demo"
    ),
) -> None:
    """Go the whole way on this machine: checkpoint, convert, build, verify, embed."""
    folder.mkdir(parents=True, exist_ok=True)
    made = demonstrate(folder)
    say(str(made.report))
    table = Table(title="cosine similarity of drawn people, of an untrained network")
    for heading in ("", *made.names):
        table.add_column(heading.replace("_", "\n"))
    for name, row in zip(made.names, made.embeddings @ made.embeddings.T, strict=True):
        table.add_row(name, *(f"{similarity:.3f}" for similarity in row))
    result_console().print(table)
    for what, path in made.files.items():
        say(f"{what:<11} {path}")
    if not made.report:
        raise typer.Exit(1)

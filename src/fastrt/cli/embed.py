"""``fastrt embed``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import Device, Engine
from fastrt.cli.output import progress_bar, say, say_note, say_passed_over
from fastrt.embed import embed_files, find_images, save_embeddings
from fastrt.engine import load


def run(
    engine: Engine,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Images, folders, or patterns.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the embeddings go: a .npy.")] = Path(
        "embeddings.npy"
    ),
    batch: Annotated[int | None, typer.Option(min=1, help="Images at once.", show_default=False)] = None,
    device: Device = None,
) -> None:
    """Embed images: a .npy of embeddings, with a .json and a .csv of their names beside it."""
    found = find_images(paths)
    say_passed_over(found.passed_over)
    with load(engine, device, batch=batch) as session, progress_bar() as progress:
        task = progress.add_task("embedding", total=len(found.images))
        embedded = embed_files(session, found.images, lambda count: progress.advance(task, count))
        names, table = save_embeddings(embedded, output, session.info)
    count, dimension = embedded.embeddings.shape
    say(f"{output}: {count} embeddings of {dimension} numbers, names in {names} and {table}")
    if embedded.unreadable:
        say_note(f"{len(embedded.unreadable)} of {len(found.images)} images could not be read:")
        for _, reason in embedded.unreadable:
            say_note(reason)
        raise typer.Exit(1)

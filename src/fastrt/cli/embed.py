"""``fastrt embed``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import AsJson, Device, Engine
from fastrt.cli.output import progress_console, say_result
from fastrt.cli.progress import progress_bar
from fastrt.cli.unreadable import say_unreadable
from fastrt.engine.load import load
from fastrt.extraction import Store, find_images, stream_embeddings
from fastrt.extraction.outputs import check_default
from fastrt.targets.base import Mode

DEFAULT = "embeddings.npy"
"""Output if none is named."""


def run(
    engine: Engine,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Images, folders, or patterns.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help=f"Output: a .npy of embeddings. Default: {DEFAULT}.", show_default=False),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Batch size.", show_default=False)] = None,
    mode: Annotated[
        Mode, typer.Option(help="Optimise images per second (throughput) or the time of one call (latency).")
    ] = "throughput",
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Discard an unfinished job, also one of another engine or of other files."),
    ] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Embed images: writes a .npy of embeddings, and their names as .json and .csv."""
    is_default = output is None
    output = output or Path(DEFAULT)
    if is_default:
        check_default(output)
    images = find_images(paths).images
    with (
        load(engine, device, batch=batch, mode=mode) as session,
        Store(output, session.info, images, engine=engine, device=device, restart=restart) as store,
    ):
        if store.files:
            progress_console().print(f"resuming an interrupted job: {store.files} of {len(images)} images are done")
        try:
            with progress_bar(rate="images") as progress:
                task = progress.add_task("embedding", total=len(images), completed=store.files)
                for piece in stream_embeddings(session, images[store.files :]):
                    store.append(piece)
                    progress.advance(task, piece.files)
        except KeyboardInterrupt:
            progress_console().print(f"{store.files} of {len(images)} images are done; run the same command to resume")
            raise
        say_unreadable(store.unreadable, len(images))
        if is_default:
            check_default(output)  # a file that appeared meanwhile
        names, table = store.finish()
    dim = session.info.embedding_dim
    result = {
        "output": output,
        "names": names,
        "table": table,
        "embeddings": store.rows,
        "embedding_dim": dim,
        "unreadable": [{"image": image, "reason": reason} for image, reason in store.unreadable],
    }
    say_result(result, f"{output}: {store.rows} embeddings of {dim} numbers, names in {names} and {table}", as_json)
    if store.unreadable:
        raise typer.Exit(1)

"""``fastrt match``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastrt.cli.arguments import AsJson, Device
from fastrt.cli.output import result_console, say, say_json
from fastrt.cli.progress import progress_bar
from fastrt.cli.unreadable import say_unreadable
from fastrt.engine.load import load
from fastrt.evaluation.match import Matches, match
from fastrt.evaluation.match_page import VERDICTS, check_page, write_page
from fastrt.evaluation.threshold import place_threshold, read_threshold
from fastrt.extraction import find_images
from fastrt.files import refuse_inputs
from fastrt.similarity import DECIMALS


def run(
    query: Annotated[str, typer.Argument(help="Query: an image, a folder, or a pattern.", show_default=False)],
    gallery: Annotated[str, typer.Argument(help="Gallery: an image, a folder, or a pattern.", show_default=False)],
    engine: Annotated[
        Path, typer.Option("--engine", help="Engine: .xml, .onnx, .npz, .engine or .rtx.", show_default=False)
    ],
    top: Annotated[int, typer.Option(min=1, help="Number of gallery images for each query.")] = 5,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Output: a page with thumbnails, in one file; an existing file is replaced.",
            show_default=False,
        ),
    ] = None,
    own_files: Annotated[
        bool, typer.Option("--own-files", help="Also rank a query's own file, if it is in the gallery.")
    ] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="Batch size.", show_default=False)] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Find the nearest gallery images of query images, by cosine similarity.

    The threshold that `fastrt evaluate --false-matches` stored beside the engine decides which show the same person.
    """
    if html is not None:
        check_page(html)
    queries, images = (find_images([path]).images for path in (query, gallery))
    if html is not None:
        refuse_inputs([html], [image for image in (*queries, *images) if image.suffix == html.suffix])
    with load(engine, device, batch=batch, mode="throughput") as session:
        stored = read_threshold(engine)
        threshold = None if stored is None else stored.similarity
        with progress_bar(rate="images") as progress:
            task = progress.add_task("embedding", total=len(queries) + len(images))
            found = match(
                session,
                queries,
                images,
                top,
                threshold=threshold,
                own_files=own_files,
                advance=lambda done: progress.advance(task, done),
            )
    say_unreadable(found.unreadable, found.files)
    if html is not None:
        write_page(html, found, session.info, threshold)
    if as_json:
        say_json(_to_json(found, threshold, html))
    else:
        _print_table(found, threshold, engine)
        if html is not None:
            say(f"page  {html}")
    if found.unreadable:
        raise typer.Exit(1)


def _print_table(found: Matches, threshold: float | None, engine: Path) -> None:
    table = Table()
    for heading in ("query", "rank", "gallery image", "similarity", *(["person"] if threshold is not None else [])):
        table.add_column(heading, justify="right" if heading in ("rank", "similarity") else "left", overflow="fold")
    for row in found.queries:
        for place, hit in enumerate(row.matches, 1):
            query = _show(row.query) if place == 1 else ""
            cells = [query, str(place), _show(hit.image), f"{hit.similarity:.4f}", VERDICTS[hit.same_person]]
            table.add_row(*cells[: len(table.columns)], end_section=place == len(row.matches))
        if not row.matches:
            table.add_row(_show(row.query), "", "no other image", end_section=True)
    result_console().print(table)
    if left_out := sum(row.left_out for row in found.queries):
        say(f"left out: the query's own file, for {left_out} of {len(found.queries)} queries; --own-files ranks it")
    if threshold is None:
        say(f"no threshold of this engine in {place_threshold(engine)}; fastrt evaluate --false-matches finds one")
    else:
        say(f"same person: similarity of {threshold:.4f} or more, from {place_threshold(engine)}")


def _to_json(found: Matches, threshold: float | None, html: Path | None) -> dict[str, object]:
    queries = [
        {
            "query": str(row.query),
            "own_file_left_out": row.left_out,
            "matches": [
                {
                    "rank": place,
                    "image": str(hit.image),
                    "similarity": round(hit.similarity, DECIMALS),
                    "same_person": hit.same_person,
                }
                for place, hit in enumerate(row.matches, 1)
            ],
        }
        for row in found.queries
    ]
    unreadable = [{"image": str(image), "reason": reason} for image, reason in found.unreadable]
    page = None if html is None else str(html)
    return {
        "threshold": threshold,
        "gallery": found.gallery,
        "queries": queries,
        "unreadable": unreadable,
        "page": page,
    }


def _show(path: Path) -> str:
    """A name without characters that a terminal would obey or cannot print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))

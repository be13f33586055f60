"""``fastrt demo``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastrt.cli.arguments import AsJson
from fastrt.cli.output import list_checks, result_console, say, say_json
from fastrt.cli.progress import progress_of_phases
from fastrt.demo.demonstrate import Demonstration, demonstrate


def run(
    folder: Annotated[Path, typer.Option("-o", "--output", help="Output folder: new or empty.")] = Path("fastrt-demo"),
    target: Annotated[str, typer.Option(help="Target to build for.")] = "openvino",
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline: draw people, build a trained network, calibrate, evaluate, report."""
    with progress_of_phases() as advance:
        made = demonstrate(folder, target, advance)
    if as_json:
        say_json(_to_json(made))
    else:
        _print(made)
    if not made.report:
        raise typer.Exit(1)


def _to_json(made: Demonstration) -> dict[str, object]:
    engines = [
        {
            "engine": row.engine,
            "precision": row.precision,
            "mAP": row.scores.mAP,
            "rank-1": row.scores.rank1,
            "least_similarity": row.similarity,
            "images_s": row.images_s,
            "bytes": row.bytes,
        }
        for row in made.rows
    ]
    checks = {"verified": bool(made.report), "checks": list_checks(made.report)}
    return {**checks, "title": made.rows[0].scores.title, "engines": engines, "report": made.page}


def _print(made: Demonstration) -> None:
    say(str(made.report))
    table = Table(title=made.rows[0].scores.title)
    rates = [f"images/s, batch {batch}" for batch in made.rows[0].images_s]
    for heading in ("precision", "mAP", "rank-1", "least centred cosine to fp32", *rates, "MB"):
        table.add_column(heading, justify="right")
    for row in made.rows:
        scores = (f"{100 * value:.2f}" for value in (row.scores.mAP, row.scores.rank1))
        rates = [f"{rate:.0f}" for rate in row.images_s.values()]
        table.add_row(row.precision, *scores, f"{row.similarity:.4f}", *rates, f"{row.bytes / 1e6:.2f}")
    result_console().print(table)
    for row in made.rows:
        say(f"engine  {row.engine}")
    if made.page is not None:
        say(f"report  {made.page}")

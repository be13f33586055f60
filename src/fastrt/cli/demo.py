"""``fastrt demo``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastrt.cli.output import progress_of_phases, result_console, say, say_note
from fastrt.demo.demonstrate import demonstrate
from fastrt.engine.load import describe
from fastrt.errors import TargetError
from fastrt.evaluation.report import check_libraries, write_report


def run(
    folder: Annotated[Path, typer.Option("-o", "--output", help="Output folder; created if missing.")] = Path(
        "fastrt-demo"
    ),
    target: Annotated[str, typer.Option(help="Target to build for.")] = "openvino",
) -> None:
    """Run the whole pipeline: draw people, build a trained network, calibrate, evaluate, report."""
    with progress_of_phases() as advance:
        made = demonstrate(folder, target, advance)
    say(str(made.report))
    table = Table(title=made.rows[0].scores.title)
    for heading in ("precision", "mAP", "rank-1", "cosine to fp32", *(f"images/s, batch {n}" for n in (1, 8)), "MB"):
        table.add_column(heading, justify="right")
    for row in made.rows:
        scores = (f"{100 * value:.2f}" for value in (row.scores.mAP, row.scores.rank1))
        rates = (f"{rate:.0f}" for rate in row.images_s.values())
        table.add_row(row.precision, *scores, f"{row.similarity:.4f}", *rates, f"{row.bytes / 1e6:.1f}")
    result_console().print(table)
    for row in made.rows:
        say(f"engine  {row.engine}")
    try:
        check_libraries()
    except TargetError as error:
        say_note(f"no report is written: {error}")
    else:
        best = made.rows[0]
        page = write_report(folder / "report", best.scores, made.data_set, describe(best.engine), best.engine)
        say(f"report  {page}")
    if not made.report:
        raise typer.Exit(1)

"""``fastrt benchmark``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastrt.cli.arguments import AsJson, Device, split_numbers
from fastrt.cli.output import result_console, say, say_json
from fastrt.cli.progress import progress_bar
from fastrt.timing.engines import compare_engines
from fastrt.timing.host import describe_host
from fastrt.timing.plot import check_plot, draw_plot

BATCHES = "1,4,16"
SHOWN = ("batch", "input", "median_ms", "p99_ms", "images_s", "load_s", "start_s", "peak_mb")


def run(
    engines: Annotated[list[Path], typer.Argument(metavar="ENGINE...", help="Engine files.", show_default=False)],
    batch: Annotated[str | None, typer.Option(help="Batch sizes: 1,4,16 or 1 4 16.", show_default=BATCHES)] = None,
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="Also time crops of many sizes, which must be resized.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Measured seconds per engine and batch.")] = 2.0,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write a plot: .png, .svg or .pdf.", show_default=False)
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compare the speed of engines: one process per engine, measured in alternating rounds."""
    if plot is not None:
        check_plot(plot)
    # ``--batch 1 4 16`` leaves 4 and 16 among the engines. Engines have a suffix, so numbers are batch sizes.
    numbers = [str(engine) for engine in engines if batch is not None and str(engine).isdigit()]
    engines = [engine for engine in engines if str(engine) not in numbers]
    batches = split_numbers(",".join([batch or BATCHES, *numbers]))
    with progress_bar() as progress:
        task = progress.add_task("measuring", total=None)
        rows = compare_engines(
            engines,
            batches,
            crops=preprocess,
            device=device,
            seconds=seconds,
            advance=lambda done, total: progress.update(task, completed=done, total=total),
        )
    host = describe_host()
    if plot is not None:
        draw_plot(rows, plot)
    if as_json:
        say_json({"host": host, "rows": [asdict(row) for row in rows], "plot": plot})
        return
    for row in {row.engine: row for row in rows}.values():
        threads = "" if row.threads is None else f", {row.threads} threads"
        say(f"{row.engine}: {row.precision} by {row.runtime} on {row.device}{threads}")
    table = Table()
    for name in ("engine", *SHOWN):
        table.add_column(name.replace("_", " "), justify="left" if name in ("engine", "input") else "right")
    for row in rows:
        table.add_row(Path(row.engine).name, *(str(getattr(row, name)) for name in SHOWN))
    result_console().print(table)
    host["governor"] = host["governor"] or "unknown"
    known = {name: value for name, value in host.items() if value}
    say(", ".join(f"{name} {' '.join(value) if isinstance(value, list) else value}" for name, value in known.items()))
    if plot is not None:
        say(f"plot  {plot}")

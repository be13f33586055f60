"""Plots latency and throughput against the batch size. Imports matplotlib only when it draws."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from fastrt.errors import TargetError
from fastrt.files import check_place, check_suffix, written_whole
from fastrt.timing.engines import Row


def check_plot(path: Path) -> None:
    """Raise the errors of `draw_plot`. Call it before the measurements whose result would be lost."""
    if importlib.util.find_spec("matplotlib") is None:
        raise TargetError("plot: matplotlib is not installed; expected matplotlib. Run pip install 'fastrt[report]'.")
    check_suffix(path, ".png", ".svg", ".pdf")
    check_place(path)


def draw_plot(rows: Sequence[Row], path: Path) -> None:
    """Draw latency and throughput side by side, one line per engine and input type.

    Raises:
        OutputError: the file cannot be written, or its suffix is not supported.
        TargetError: matplotlib is not installed.
    """
    check_plot(path)
    from matplotlib.figure import Figure  # without pyplot: no window and no global state

    figure = Figure(figsize=(9.5, 4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for key in dict.fromkeys((row.engine, row.input) for row in rows):
        found = sorted((row for row in rows if (row.engine, row.input) == key), key=lambda row: row.batch)
        batches = [row.batch for row in found]
        label = f"{Path(key[0]).name}{', resized' if key[1] == 'crops' else ''}"
        left.plot(batches, [row.median_ms for row in found], marker="o", label=label)
        right.plot(batches, [row.images_s for row in found], marker="o", label=label)
    left.set(xlabel="batch size", ylabel="milliseconds per call", title="Latency", xscale="log", yscale="log")
    right.set(xlabel="batch size", ylabel="images per second", title="Throughput", xscale="log", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        ticks = sorted({row.batch for row in rows})
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.minorticks_off()
    right.legend(fontsize="small")
    with written_whole(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:])

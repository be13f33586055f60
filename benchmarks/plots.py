"""Draw results as pictures, into ``docs/images``: part of ``make tables``.

Each picture says which content of its result it was drawn of, so that a test can tell whether it is of today's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_peers import COMPILED, EAGER, OURS, PARSER
from benchmarks.rows import Row

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLOURS = ("#1b6ca8", "#e07b39", "#6a994e", "#9a9a9a", "#8e5ea2", "#c0504d", "#4bacc6")
Figure = Any
"""Of matplotlib, which is imported when something is drawn."""


def draw_gpu_peers(figure: Figure, rows: Sequence[Row]) -> None:
    """Images a second against the batch, a panel a model."""
    titles = list(dict.fromkeys(row["model"] for row in rows))
    titles = [title for title in titles if sum(row["model"] == title for row in rows) > 2]
    panels = figure.subplots(1, len(titles), sharey=True)
    for panel, title in zip(panels, titles, strict=True):
        batches = [row["batch"] for row in rows if row["model"] == title]
        for colour, column in zip(COLOURS, (OURS, PARSER, COMPILED, EAGER), strict=False):
            # What was not measured is a gap.
            rates = [1e3 * row["batch"] / row.get(column, math.nan) for row in rows if row["model"] == title]
            panel.plot(batches, rates, marker="o", color=colour, label=column.removesuffix(", ms"))
        panel.set(title=title, xscale="log", xlabel="images a call")
        ticks = sorted({row["batch"] for row in rows})
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set(ylabel="images a second", ylim=(0, None))
    panels[0].legend(fontsize="small")


def draw_peers(figure: Figure, rows: Sequence[Row]) -> None:
    """How many times as long as fastrt's fp32 each takes, a panel a batch, the middle half of the rounds as a line."""
    batches = (1, 16)
    titles = list(dict.fromkeys(row["model"] for row in rows))
    names = [column for column in rows[0] if column not in ("model", "batch", "fastrt fp32, ms")]
    panels = figure.subplots(1, len(batches), sharey=True)
    for panel, batch in zip(panels, batches, strict=True):
        for place, (colour, name) in enumerate(zip(COLOURS, names, strict=True)):
            for i, title in enumerate(titles):
                row = next(row for row in rows if row["model"] == title and row["batch"] == batch)
                if name not in row:
                    continue
                middle, low, high = read_ratio(row[name])
                y = i + 0.8 * ((place + 0.5) / len(names) - 0.5)
                panel.barh(y, middle, 0.75 / len(names), color=colour, label=name if i == 0 else None)
                panel.plot((low, high), (y, y), color="black", linewidth=1)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set(title=f"{batch} images" if batch > 1 else "1 image", xlabel="time, fastrt fp32 = 1")
        panel.grid(alpha=0.3, axis="x")
    panels[0].set_yticks(range(len(titles)), titles)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")


def read_ratio(text: str) -> tuple[float, float, float]:
    """What `describe_ratios` wrote.

    >>> read_ratio("1.40 (1.39 to 1.44)")
    (1.4, 1.39, 1.44)
    """
    middle, low, _, high = text.replace("(", "").replace(")", "").split()
    return float(middle), float(low), float(high)


PLOTS: dict[str, tuple[Callable[[Figure, Sequence[Row]], None], tuple[float, float]]] = {
    "nvidia-h200/gpu_peers": (draw_gpu_peers, (11, 3.8)),
    "peers": (draw_peers, (10, 6)),
}
"""What draws each result, and its size in inches."""


def picture(name: str) -> Path:
    """Where a result's picture stands."""
    return IMAGES / f"{name.replace('/', '-')}.svg"


def fingerprint(name: str) -> str:
    """Of a result's content."""
    return hashlib.sha256((RESULTS / f"{name}.json").read_bytes()).hexdigest()


def draw(name: str) -> None:
    """Draw one result."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as NewFigure

    paint, size = PLOTS[name]
    with mpl.rc_context({"svg.hashsalt": "fastrt", "svg.fonttype": "none", "font.size": 9}):
        figure = NewFigure(figsize=size, layout="constrained")
        paint(figure, json.loads((RESULTS / f"{name}.json").read_text())["rows"])
        IMAGES.mkdir(exist_ok=True)
        figure.savefig(
            picture(name),
            metadata={"Date": None, "Creator": None, "Description": f"drawn of {fingerprint(name)}"},
        )


def main() -> None:
    for name in PLOTS:
        draw(name)


if __name__ == "__main__":
    main()

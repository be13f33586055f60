"""Plots the curves of a report as SVG. Imports matplotlib only when it draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array

SAME, DIFFERENT = "#2a7f3f", "#b0322b"


def draw_cmc(cmc: Array, path: Path) -> None:
    """Plot the cumulative matching characteristic."""
    with _axes(path, xlabel="rank", ylabel="queries found, %", title="CMC", ylim=_zoom(100 * cmc)) as axes:
        axes.plot(np.arange(1, len(cmc) + 1), 100 * cmc, color="#1f4e79", marker="." if len(cmc) < 12 else "")


def draw_roc(false: Array, found: Array, path: Path) -> None:
    """Plot the fraction of pairs of one person found against the fraction of false matches."""
    false, found = false[false > 0], 100 * found[false > 0]
    labels = {"xlabel": "false matches", "ylabel": "pairs of one person found, %", "title": "ROC"}
    with _axes(path, **labels, ylim=_zoom(found)) as axes:
        axes.semilogx(false, found, color="#1f4e79", marker="." if len(false) < 12 else "")


def draw_distances(edges: Array, same: Array, different: Array, path: Path) -> None:
    """Plot histograms of the distances of pairs of one person and of different people."""
    seen = np.flatnonzero(same + different)
    limits = (edges[seen[0]], edges[seen[-1] + 1])
    with _axes(path, xlabel="distance", ylabel="density", title="Distances", xlim=limits) as axes:
        for counts, colour, label in ((same, SAME, "same person"), (different, DIFFERENT, "different people")):
            density = counts / (counts.sum() * np.diff(edges))
            axes.stairs(density, edges, fill=True, alpha=0.6, color=colour, label=label)
        axes.legend()


def _zoom(percents: Array) -> tuple[float, float]:
    """Return limits of an axis that show how the values differ, up to 100 %."""
    low = float(percents.min())
    margin = max(100 - low, 1) / 20
    return low - margin, 100 + margin


@contextmanager
def _axes(path: Path, **settings: Any) -> Iterator[Any]:
    """Yield the axes of a plot, and write it to ``path``."""
    from matplotlib.figure import Figure  # without pyplot: no window and no global state

    figure = Figure(figsize=(5.2, 3.9), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    yield axes
    axes.set(**settings)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})

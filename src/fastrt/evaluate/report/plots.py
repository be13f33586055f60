"""The curves. The only file that imports matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array

SAME, DIFFERENT = "#2a7f3f", "#b0322b"


def draw_cmc(cmc: Array, path: Path) -> None:
    """Which part of the queries has a true match among the first so many."""
    figure, axes = _figure()
    axes.plot(np.arange(1, len(cmc) + 1), 100 * cmc, color="#1f4e79")
    axes.set(xlabel="rank", ylabel="queries found, %", title="CMC", ylim=(0, 101))
    figure.savefig(path)


def draw_roc(same: Array, different: Array, path: Path) -> None:
    """Which part of same people is found when so small a part of different people is taken for the same."""
    figure, axes = _figure()
    bounds = np.unique(np.quantile(different, np.geomspace(max(1 / len(different), 1e-7), 1, 300)))
    false = np.searchsorted(different, bounds, "right") / len(different)
    found = np.searchsorted(same, bounds, "right") / len(same)
    axes.semilogx(false, 100 * found, color="#1f4e79")
    axes.set(xlabel="different people taken for the same", ylabel="same people found, %", title="ROC", ylim=(0, 101))
    figure.savefig(path)


def draw_distances(same: Array, different: Array, path: Path) -> None:
    """How far pictures of the same and of different people are from each other."""
    figure, axes = _figure()
    bins = np.linspace(min(same[0], different[0]), max(same[-1], different[-1]), 80).tolist()
    for values, colour, label in ((same, SAME, "same person"), (different, DIFFERENT, "different people")):
        axes.hist(values, bins, density=True, alpha=0.6, color=colour, label=label)
    axes.set(xlabel="distance", ylabel="density", title="Distances")
    axes.legend()
    figure.savefig(path)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # without pyplot: no window, and no state that threads share

    figure = Figure(figsize=(5.2, 3.9), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes

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


def draw_roc(false: Array, found: Array, path: Path) -> None:
    """Which part of same people is found when so small a part of different people is taken for the same."""
    figure, axes = _figure()
    axes.semilogx(false[false > 0], 100 * found[false > 0], color="#1f4e79")
    axes.set(xlabel="different people taken for the same", ylabel="same people found, %", title="ROC", ylim=(0, 101))
    figure.savefig(path)


def draw_distances(edges: Array, same: Array, different: Array, path: Path) -> None:
    """How far pictures of the same and of different people are from each other: pairs between ``edges``."""
    figure, axes = _figure()
    for counts, colour, label in ((same, SAME, "same person"), (different, DIFFERENT, "different people")):
        density = counts / (counts.sum() * np.diff(edges))
        axes.stairs(density, edges, fill=True, alpha=0.6, color=colour, label=label)
    seen = np.flatnonzero(same + different)
    axes.set(xlabel="distance", ylabel="density", title="Distances", xlim=(edges[seen[0]], edges[seen[-1] + 1]))
    axes.legend()
    figure.savefig(path)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # without pyplot: no window, and no state that threads share

    figure = Figure(figsize=(5.2, 3.9), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes

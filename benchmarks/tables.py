"""Tables and plots of README and docs, from ``benchmarks/results``: ``python -m benchmarks.tables`` (``make tables``).

Each plot contains the hash of its result, so that a test can check whether it is current.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_peers import COMPILED, EAGER, OURS, PARSER, add_ratios
from benchmarks.results import RESULTS, Row, read_ratio, read_result

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
VERSIONS = ("openvino", "onnxruntime", "torch", "numpy", "python")
UNDERSCORE = re.compile(r"(?<!\d)_|_(?!\d)")
"""Underscores that stand for a space; those between digits do not, as in ``x0_25``."""

PLACE = re.compile(r"<!-- table: ([\w/-]+) -->\n.*?<!-- end -->", re.DOTALL)


def draw_table(result: Row) -> str:
    """Format a result's rows as a Markdown table, without its lists, with the host or the source."""
    rows = result["rows"]
    columns = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], list)))
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    head, *body = (f"| {' | '.join(UNDERSCORE.sub(' ', str(cell)) for cell in line)} |" for line in lines)
    table = "\n".join([head, f"|{'---|' * len(columns)}", *body])
    if "source" in result:  # published by others
        return f"{table}\n\nSource: {result['source']}."
    host = result["host"]
    named = [f"{name} {host[name]}" for name in VERSIONS if host.get(name)]
    extensions = " ".join(host["vector_extensions"])
    if host.get("narrowed_to"):
        extensions += f", narrowed to {host['narrowed_to']}"
    devices = [host["gpu"]] if host.get("gpu") else []
    cores = f", {host['cores']} cores" if "cores" in host else ""
    devices.append(f"{host['processor']}{cores} ({extensions})")
    runtime = host.get("tensorrt") or host.get("target")
    versions = ", ".join(dict.fromkeys([runtime, *named] if runtime else named))
    return f"{table}\n\nMeasured on {' with '.join(devices)}; {versions}."


def fill(text: str) -> str:
    """Replace the tables of a page."""

    def write(match: re.Match[str]) -> str:
        name = match[1]
        result = summarize() if name == "summary" else read_result(name)
        if name.endswith("/gpu_peers"):
            result["rows"] = list(map(add_ratios, result["rows"]))
        return f"<!-- table: {name} -->\n{draw_table(result)}\n<!-- end -->"

    return PLACE.sub(write, text)


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "src" / "fastrt" / "demo" / "CARD.md", *sorted((ROOT / "docs").rglob("*.md"))]


SUMMARIZED = ("R34", "R50-NL-IBN")
FP32 = ("PyTorch eager", "torch.compile", "onnxruntime", "OpenVINO of the export", "BoxMOT")
INT8, INT8_PEER = "fastrt int8", "OpenVINO int8 by NNCF"


def summarize() -> Row:
    """Compare fastrt with the fastest alternative for one image per call: README's table.

    int8 ratios have one decimal, because both of their operands are rounded.
    """
    cpu, gpu = read_result("peers"), read_result("nvidia-h200/gpu_peers")
    rows: list[Row] = []

    def compare(device: str, row: Row, precision: str, ours: float, others: dict[str, float], decimals: int) -> None:
        best = min(others, key=others.__getitem__)
        figures = {"best alternative": best, "its time / fastrt's": f"{others[best] / ours:.{decimals}f}"}
        about = {"device": device, "model": row["model"], "precision": precision}
        rows.append({**about, "fastrt, ms": f"{ours:#.3g}", **figures})

    def chosen(result: Row) -> list[Row]:
        return [row for row in result["rows"] if row["model"] in SUMMARIZED and row["batch"] == 1]

    for row in chosen(cpu):
        device = f"{cpu['host']['processor']}, {cpu['host']['cores']} cores"
        unit = row["fastrt fp32, ms"]
        times = {name: unit * read_ratio(row[name])[0] for name in (*FP32, INT8, INT8_PEER) if name in row}
        compare(device, row, "fp32", unit, {name: times[name] for name in FP32 if name in times}, 2)
        compare(device, row, "int8", times[INT8], {INT8_PEER: times[INT8_PEER]}, 1)
    for row in chosen(gpu):
        others = {name.removesuffix(", ms"): row[name] for name in (EAGER, COMPILED, PARSER)}
        compare(gpu["host"]["gpu"], row, "fp16", row[OURS], others, 2)
    return {"source": "`benchmarks/results/peers.json` and `nvidia-h200/gpu_peers.json`", "rows": rows}


COLOURS = ("#1b6ca8", "#e07b39", "#6a994e", "#9a9a9a", "#8e5ea2", "#c0504d", "#4bacc6")
Figure = Any
"""A matplotlib figure; matplotlib is imported only to draw."""


def draw_gpu_peers(figure: Figure, rows: Sequence[Row]) -> None:
    """Plot throughput by batch size, one panel per model."""
    titles = list(dict.fromkeys(row["model"] for row in rows))
    titles = [title for title in titles if sum(row["model"] == title for row in rows) > 2]
    panels = figure.subplots(1, len(titles), sharey=True)
    for panel, title in zip(panels, titles, strict=True):
        batches = [row["batch"] for row in rows if row["model"] == title]
        for colour, column in zip(COLOURS, (OURS, PARSER, COMPILED, EAGER), strict=False):
            # A missing value leaves a gap.
            rates = [1e3 * row["batch"] / row.get(column, math.nan) for row in rows if row["model"] == title]
            panel.plot(batches, rates, marker="o", color=colour, label=column.removesuffix(", ms"))
        panel.set(title=title, xscale="log", xlabel="images per call")
        ticks = sorted({row["batch"] for row in rows})
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set(ylabel="images per second", ylim=(0, None))
    panels[0].legend(fontsize="small")


def draw_peers(figure: Figure, rows: Sequence[Row]) -> None:
    """Plot time divided by fastrt's fp32 time, one panel per batch size; lines cover the middle half of the rounds."""
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


PLOTS: dict[str, tuple[Callable[[Figure, Sequence[Row]], None], tuple[float, float]]] = {
    "nvidia-h200/gpu_peers": (draw_gpu_peers, (11, 3.8)),
    "peers": (draw_peers, (10, 6)),
}
"""The function that draws each result, and the size in inches."""


def plot_of(name: str) -> Path:
    """Path of a result's plot."""
    return IMAGES / f"{name.replace('/', '-')}.svg"


def fingerprint(name: str) -> str:
    """Hash of a result's content."""
    return hashlib.sha256((RESULTS / f"{name}.json").read_bytes()).hexdigest()


def draw(name: str) -> None:
    """Draw the plot of a result."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as NewFigure

    paint, size = PLOTS[name]
    with mpl.rc_context({"svg.hashsalt": "fastrt", "svg.fonttype": "none", "font.size": 9}):
        figure = NewFigure(figsize=size, layout="constrained")
        paint(figure, read_result(name)["rows"])
        IMAGES.mkdir(exist_ok=True)
        figure.savefig(
            plot_of(name),
            metadata={"Date": None, "Creator": None, "Description": f"drawn of {fingerprint(name)}"},
        )


def main() -> None:
    for page in pages():
        page.write_text(fill(page.read_text()))
    for name in PLOTS:
        draw(name)


if __name__ == "__main__":
    main()

"""Write the figures in README and docs from ``benchmarks/results``, and draw its plots: ``make tables``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import gpu_limits, gpu_peers, int8_speed, plots, summary, tensorrt_layers

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
VERSIONS = ("openvino", "onnxruntime", "torch", "numpy", "python")
PLACE = re.compile(r"<!-- table: ([\w/-]+)(, [\w ]+)? -->\n.*?<!-- end -->", re.DOTALL)


DERIVED: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
    "gpu_limits": gpu_limits.list_rows,
    "gpu_peers": gpu_peers.list_rows,
    "int8_speed, gains": int8_speed.list_gains,
    "int8_speed_avx2, gains": int8_speed.list_gains,
    "int8_speed_avx512_core_vnni, gains": int8_speed.list_gains,
    "tensorrt_layers": tensorrt_layers.list_rows,
    "tensorrt_layers, parsed": tensorrt_layers.list_parsed,
}
"""Rows of results that hold what they are made of; after a comma another view of the same."""


def draw_table(result: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """A result's rows as a Markdown table, with the machine they were measured on, or where they were published.

    Lists are left to those who read the result.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], list)))
    lines = [columns, ["---"] * len(columns), *([row.get(column, "") for column in columns] for row in rows)]
    table = "\n".join(f"| {' | '.join(str(cell).replace('_', ' ') for cell in line)} |" for line in lines)
    if "source" in result:  # published by others
        return f"{table}\n\nSource: {result['source']}."
    machine = result["machine"]
    named = [f"{name} {machine[name]}" for name in VERSIONS if machine.get(name)]
    extensions = " ".join(machine["vector_extensions"])
    if machine.get("narrowed_to"):
        extensions += f", narrowed to {machine['narrowed_to']}"
    devices = [machine["gpu"]] if machine.get("gpu") else []
    cores = f", {machine['cores']} cores" if "cores" in machine else ""
    devices.append(f"{machine['processor']}{cores} ({extensions})")
    runtime = machine.get("tensorrt") or machine.get("target")
    versions = ", ".join(dict.fromkeys([runtime, *named] if runtime else named))
    return f"{table}\n\nMeasured on {' with '.join(devices)}; {versions}."


def fill(text: str) -> str:
    """A page with its tables drawn anew."""

    def draw(match: re.Match[str]) -> str:
        if match[1] == "summary":
            result = summary.summarize()
            return f"<!-- table: summary -->\n{draw_table(result, result['rows'])}\n<!-- end -->"
        result = json.loads((RESULTS / f"{match[1]}.json").read_text())
        view = match[2] or ""
        name = match[1].rpartition("/")[2] + view
        rows = DERIVED[name](result) if view or name in DERIVED else result["rows"]
        return f"<!-- table: {match[1]}{view} -->\n{draw_table(result, rows)}\n<!-- end -->"

    return PLACE.sub(draw, text)


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "src" / "fastrt" / "demo" / "CARD.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    for page in pages():
        page.write_text(fill(page.read_text()))
    plots.main()


if __name__ == "__main__":
    main()

"""Rows of a result that are measured a part at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.models import TITLES

Row = dict[str, Any]


def model_and_batch(row: Row) -> tuple[int, int]:
    """What tells a row from others, where it is about a model and a batch; also its order."""
    return TITLES.index(row["model"]), row["batch"]


def save_rows(
    path: Path, command: str, machine: dict[str, Any], rows: list[Row], *, same: Callable[[Row], Any], **more: Any
) -> None:
    """Write rows to a result, where others stay that were measured on such a machine.

    Args:
        path: the result.
        command: that measured.
        machine: that it was measured on.
        rows: those that are new.
        same: what they share with the rows that they replace; also their order.
        more: what else the result says.
    """
    before: Row = json.loads(path.read_text()) if path.is_file() else {"machine": None}
    kept: list[Row] = before["rows"] if before["machine"] == machine else []
    measured = {same(row) for row in rows}
    ordered = sorted([*(row for row in kept if same(row) not in measured), *rows], key=same)
    result = {"command": command, **more, "machine": machine, "rows": ordered}
    path.write_text(json.dumps(result, indent=1) + "\n")

"""Rows of a result that are measured a part at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import TITLES

Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
SAME_GPU = ("gpu", "tensorrt")
"""In what machines are to be alike for rows that are measured on a GPU."""


def gpu_result(gpu: str, name: str) -> Path:
    """The result of a kind of GPU: each has its folder, so that what is measured on one leaves what was on another.

    >>> gpu_result("NVIDIA H200, sm90", "tensorrt_speed").relative_to(RESULTS).as_posix()
    'nvidia-h200/tensorrt_speed.json'
    """
    return RESULTS / gpu.partition(",")[0].lower().replace(" ", "-") / f"{name}.json"


def model_and_batch(row: Row) -> tuple[int, int]:
    """What tells a row from others, where it is about a model and a batch; also its order."""
    return TITLES.index(row["model"]), row["batch"]


def engine_of(row: Row) -> tuple[int, str, int]:
    """What tells one engine from another; also its order."""
    return TITLES.index(row["model"]), row["precision"], row["batch"]


def describe_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> str:
    """The ratio of two that were measured in turn: the median of the rounds, and between what the middle half lie.

    >>> describe_ratios([2.0, 2.2, 2.1], [1.0, 1.0, 1.0])
    '2.10 (2.05 to 2.15)'
    """
    low, middle, high = np.quantile(np.divide(numerators, denominators), [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Keep others from the results in a folder meanwhile: what is read may be written back with more."""
    folder.mkdir(exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def shared_description(before: Row | None, now: Row, same: Sequence[str] | None = None) -> Row | None:
    """What two descriptions of a machine both say; None if they contradict each other.

    Args:
        before: one of them.
        now: the other.
        same: in what they may not contradict each other; None is anything.

    >>> shared_description({"gpu": "H100"}, {"gpu": "H100", "driver": "580"})
    {'gpu': 'H100'}
    >>> shared_description({"gpu": "H100"}, {"gpu": "H200"})
    >>> shared_description({"gpu": "H100", "cores": 16}, {"gpu": "H100", "cores": 32}, same=["gpu"])
    {'gpu': 'H100'}
    """
    if before is None:
        return None
    both = before.keys() & now.keys()
    differ = {name for name in both if before[name] != now[name]}
    if differ.intersection(both if same is None else same):
        return None
    return {name: value for name, value in now.items() if name in both - differ}


def save_rows(
    path: Path,
    command: str,
    machine: Row,
    rows: list[Row],
    *,
    same: Callable[[Row], Any],
    alike: Sequence[str] | None = None,
    **more: Any,
) -> None:
    """Write rows to a result, where others stay that were measured on such a machine.

    Args:
        path: the result.
        command: that measured.
        machine: that it was measured on. What others do not say of theirs is not said of all.
        rows: those that are new.
        same: what they share with the rows that they replace; also their order.
        alike: in what machines are to be alike; None is in all that is said of both.
        more: what else the result says.
    """
    with writing_alone(path.parent):
        before: Row = json.loads(path.read_text()) if path.is_file() else {"machine": None, "rows": []}
        measured = {same(row) for row in rows}
        others = [row for row in before["rows"] if same(row) not in measured]
        shared = shared_description(before["machine"], machine, alike)
        if others and shared is not None:
            machine = shared
        else:
            others = []
        path.write_text(lay_out({"command": command, **more, "machine": machine}, sorted([*others, *rows], key=same)))


def lay_out(about: Row, rows: Sequence[Row]) -> str:
    """A result as JSON, with a line for each row.

    >>> print(lay_out({"command": "measure"}, [{"batch": 1}, {"batch": 4}]), end="")
    {
     "command": "measure",
     "rows": [
      {"batch": 1},
      {"batch": 4}
     ]
    }
    """
    head = json.dumps(about, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{head},\n "rows": [\n{lines}\n ]\n}}\n'

"""The result files of the benchmarks: ``benchmarks/results/NAME.json``.

A result holds the command, the host and the rows. Benchmarks may write a result in parts; rows from the same kind of
host are kept.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import TITLES
from fastrt.errors import FastrtError
from fastrt.timing.host import describe_machine

Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
SAME_GPU = ("gpu", "tensorrt")
"""Fields that must be equal on all hosts whose GPU measurements share a result."""


def run_command(main: Callable[[], None]) -> None:
    """Run a command; a fastrt error or a missing package ends it with one sentence and status 2."""
    try:
        main()
    except (FastrtError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def gpu_result(gpu: str, name: str) -> Path:
    """Path of a GPU model's result: each model has its own folder.

    >>> gpu_result("NVIDIA H200, sm90", "tensorrt_speed").relative_to(RESULTS).as_posix()
    'nvidia-h200/tensorrt_speed.json'
    """
    return RESULTS / gpu.partition(",")[0].lower().replace(" ", "-") / f"{name}.json"


def model_and_batch(row: Row) -> tuple[int, int]:
    """The key of a row for a model and a batch; also its sort order."""
    return TITLES.index(row["model"]), row["batch"]


def engine_of(row: Row) -> tuple[int, str, int]:
    """The key of a row for an engine; also its sort order."""
    return TITLES.index(row["model"]), row["precision"], row["batch"]


def describe_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> str:
    """Format the ratio of two series of alternating rounds: the median, and the range of the middle half.

    >>> describe_ratios([2.0, 2.2, 2.1], [1.0, 1.0, 1.0])
    '2.10 (2.05 to 2.15)'
    """
    low, middle, high = np.quantile(np.divide(numerators, denominators), [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Lock a result folder against other processes, to read a result and write it back."""
    folder.mkdir(exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def shared_description(before: Row | None, now: Row, same: Sequence[str] | None = None) -> Row | None:
    """The fields that two host descriptions share; None if they contradict each other.

    Args:
        before: one description.
        now: the other one.
        same: fields that must not differ; None means all.

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


def write_result(name: str, command: str, rows: Sequence[Row], *, machine: Row | None = None, **more: Any) -> None:
    """Write a whole result.

    Args:
        name: the result's name.
        command: the benchmark's module and its arguments.
        rows: all rows.
        machine: the host; None for the result of `describe_machine`.
        more: further fields of the result.
    """
    write(RESULTS / f"{name}.json", command, rows, **more, machine=machine or describe_machine())


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
    """Write rows to a result; other rows are kept if they are from the same kind of host.

    Args:
        path: the result.
        command: the benchmark's module and its arguments.
        machine: the host. Fields that differ from the other rows' host are dropped.
        rows: the new rows.
        same: the key by which new rows replace old ones; also the sort order.
        alike: fields that must agree between hosts; None means all common fields.
        more: further fields of the result.
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
        write(path, command, sorted([*others, *rows], key=same), **more, machine=machine)


def write(path: Path, command: str, rows: Sequence[Row], **more: Any) -> None:
    path.write_text(lay_out({"command": f"python -m benchmarks.{command}", **more}, rows))


def lay_out(about: Row, rows: Sequence[Row]) -> str:
    """Format a result as JSON, one row per line.

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

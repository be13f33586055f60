"""The result files of the benchmarks: ``benchmarks/results/NAME.json``.

A result holds the command, the host and the rows. Benchmarks may write a result in parts; rows from the same kind of
host are kept.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import TITLES
from fastrt.errors import FastrtError
from fastrt.timing.host import describe_host

Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
SAME_GPU = ("gpu", "tensorrt", "torch")
"""Fields that must be equal on all hosts whose GPU measurements share a result."""


def run_command(main: Callable[[], None]) -> None:
    """Run a command; a fastrt error or a missing package ends it with one sentence and status 2."""
    try:
        main()
    except (FastrtError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def read_result(name: str) -> Row:
    result: Row = json.loads((RESULTS / f"{name}.json").read_text())
    return result


def gpu_result(gpu: str, name: str) -> str:
    """Name of a GPU model's result: each model has its own folder.

    >>> gpu_result("NVIDIA H200, sm90", "tensorrt_speed")
    'nvidia-h200/tensorrt_speed'
    """
    return f"{gpu.partition(',')[0].lower().replace(' ', '-')}/{name}"


def key_of(row: Row) -> tuple[int, str, int]:
    """The key of a row, which is also its sort order: model, precision and batch, as far as it has them."""
    return TITLES.index(row["model"]), row.get("precision", ""), row.get("batch", 0)


def describe_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> str:
    """Format the ratio of two series of alternating rounds: the median, and the range of the middle half.

    >>> describe_ratios([2.0, 2.2, 2.1], [1.0, 1.0, 1.0])
    '2.10 (2.05 to 2.15)'
    """
    low, middle, high = np.quantile(np.divide(numerators, denominators), [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def read_ratio(text: str) -> tuple[float, float, float]:
    """Parse the output of `describe_ratios`.

    >>> read_ratio("1.40 (1.39 to 1.44)")
    (1.4, 1.39, 1.44)
    """
    middle, low, _, high = text.replace("(", "").replace(")", "").split()
    return float(middle), float(low), float(high)


def shared_host(before: Row, now: Row, same: Sequence[str] | None = None) -> Row | None:
    """The fields that two host descriptions share; None if they contradict each other.

    Args:
        before: one description.
        now: the other one.
        same: fields that must not differ, and are kept if only one host has them; None: no common field may differ.

    >>> shared_host({"gpu": "H100"}, {"gpu": "H100", "driver": "580"})
    {'gpu': 'H100'}
    >>> shared_host({"gpu": "H100"}, {"gpu": "H200"})
    >>> shared_host({"gpu": "H100", "cores": 16}, {"gpu": "H100", "cores": 32, "torch": "2"}, same=["gpu", "torch"])
    {'gpu': 'H100', 'torch': '2'}
    """
    differ = {name for name in before.keys() & now.keys() if before[name] != now[name]}
    if differ if same is None else differ.intersection(same):
        return None
    kept = (before.keys() & now.keys()) - differ | set(same or ())
    return {name: value for name, value in {**before, **now}.items() if name in kept}


def write_result(name: str, command: str, rows: Sequence[Row], *, host: Row | None = None, **more: Any) -> None:
    """Write a whole result.

    Args:
        name: the result's name.
        command: the benchmark's module and its arguments.
        rows: all rows.
        host: None for the result of `describe_host`.
        more: further fields of the result.
    """
    about = {"command": f"python -m benchmarks.{command}", **more, "host": host or describe_host()}
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(lay_out(about, rows))


def update_result(
    name: str, command: str, rows: Sequence[Row], *, host: Row, same: Sequence[str] | None = None, **more: Any
) -> None:
    """Write rows into a result, as `write_result` does. A row adds its figures to an older one of the same key.

    Older rows are kept if their host agrees with ``host`` by `shared_host`; the result names what both share.
    """
    folder = os.open(RESULTS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # several GPUs are measured at a time
        before = read_result(name) if (RESULTS / f"{name}.json").is_file() else None
        shared = None if before is None else shared_host(before["host"], host, same)
        merged = {} if before is None or shared is None else {key_of(row): row for row in before["rows"]}
        for row in rows:
            merged[key_of(row)] = {**merged.get(key_of(row), {}), **row}
        write_result(name, command, [merged[key] for key in sorted(merged)], host=shared or host, **more)
    finally:
        os.close(folder)


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

"""Finds targets by name and by the suffix of their engine files."""

from __future__ import annotations

import os
import pkgutil
from pathlib import Path

from fastrt.errors import TargetError
from fastrt.files import hash_file
from fastrt.targets.base import Target, refuse_precision
from fastrt.targets.engine_info import Precision
from fastrt.targets.table import ROWS

SUFFIXES = {suffix: row.name for row in ROWS.values() for suffix in row.suffixes}
"""Target names by engine file suffix."""


def find_target(name: str) -> Target:
    """Return the target of that name.

    Raises:
        TargetError: there is no such target, or its runtime is not installed.
    """
    if name not in ROWS:
        raise TargetError(f"target: unknown {name}; expected one of {', '.join(ROWS)}")
    target: Target = pkgutil.resolve_name(ROWS[name].target)()
    return target


def choose_target(path: Path, target: str | None, precision: Precision) -> Target:
    """Select the target for a new engine file.

    Args:
        path: the file; its suffix determines the target.
        target: the requested target, or None.
        precision: the engine's precision.

    Raises:
        TargetError: the suffix belongs to no engine or to another target; the runtime is not installed; or the target
            cannot compute in ``precision`` on this host.
    """
    by_suffix = SUFFIXES.get(path.suffix.lower())
    if by_suffix is None or target not in (None, by_suffix):
        wanted = [suffix for suffix, name in SUFFIXES.items() if target in (None, name)]
        if not wanted:
            find_target(str(target))
        found = f"the suffix {path.suffix}" if path.suffix else "no suffix"
        raise TargetError(f"{path}: it has {found}; expected {' or '.join(wanted)}")
    chosen = find_target(by_suffix)
    refuse_precision(chosen, precision)
    return chosen


def is_engine(path: str | os.PathLike[str]) -> bool:
    """Return True if a file has the suffix of an engine."""
    return Path(path).suffix.lower() in SUFFIXES


def find_sibling(engine: Path, sha256: object) -> Path | None:
    """Find the engine of another suffix beside ``engine`` with this SHA-256: files such as a report may be of it."""
    for other in map(engine.with_suffix, SUFFIXES):
        if other != engine and os.path.isfile(other) and hash_file(other) == sha256:  # noqa: PTH113 (takes long names)
            return other
    return None

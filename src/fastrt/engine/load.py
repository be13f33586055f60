"""Engine files: load one, read its description, list its layers."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from fastrt.engine.session import Session
from fastrt.errors import EngineError
from fastrt.targets.base import Layer, Mode, Runner, Target
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.registry import SUFFIXES, find_target, is_engine
from fastrt.targets.table import ROWS, Row


def load(
    path: str | os.PathLike[str], device: str | None = None, *, batch: int | None = None, mode: Mode = "latency"
) -> Session:
    """Load an engine file for inference.

    Args:
        path: an engine file of fastrt, or of anyone who keeps to its inputs and outputs (see `describe`).
        device: ``cpu``, ``cuda:0``, or another that the runtime finds; None for the target's own.
        batch: how many images are run at once at most; None for what the device does best.
        mode: ``latency`` for a batch now and then, ``throughput`` for many of them in a row.

    Raises:
        EngineError: there is no such file, or it is no engine, or it is damaged.
        TargetError: the runtime or the device is not there.
    """
    return Session(open_runner(path, device, mode=mode), batch)


def open_runner(
    path: str | os.PathLike[str],
    device: str | None = None,
    *,
    taps: bool | Collection[str] = False,
    mode: Mode = "latency",
) -> Runner:
    """The runner below a session; with ``taps``, named tensors inside can be read: all, or those of these names.

    Raises as `load` does.
    """
    target, path = _find_engine(path)
    return target.load(path, device or target.device, taps, mode)


def describe(path: str | os.PathLike[str]) -> EngineInfo:
    """What an engine file says of itself; from its tensors alone if it is not of fastrt's making.

    Raises:
        EngineError: there is no such file, or it is no engine, or it is damaged.
    """
    target, path = _find_engine(path)
    return target.describe(path)


def engine_size(path: str | os.PathLike[str]) -> int:
    """Bytes of an engine, with the companion files that stand beside it.

    Raises:
        EngineError: there is no such file, or it is not named as an engine.
    """
    target, path = _find_row(path)
    return sum(file.stat().st_size for file in target.list_files(path))


def list_layers(path: str | os.PathLike[str]) -> list[Layer]:
    """The layers of an engine file in order, as its runtime's file holds them. Raises as `describe` does."""
    target, path = _find_engine(path)
    return target.layers(path)


def _find_engine(path: str | os.PathLike[str]) -> tuple[Target, Path]:
    row, path = _find_row(path)
    return find_target(row.name), path


def _find_row(path: str | os.PathLike[str]) -> tuple[Row, Path]:
    path = Path(path)
    if not is_engine(path):
        known = ", ".join(f"{suffix} ({target})" for suffix, target in SUFFIXES.items())
        raise EngineError(f"{path} is not named as an engine; engines are {known}: build one with fastrt build")
    if not path.exists():
        raise EngineError(f"there is no engine {path}; build one with fastrt build")
    if not path.is_file():
        raise EngineError(f"{path} is a folder; name the engine file in it")
    if path.stat().st_size == 0:
        raise EngineError(f"{path} is empty; build it again")
    return ROWS[SUFFIXES[path.suffix.lower()]], path

"""Engine files: load one, read its metadata, list its layers."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import get_args

from fastrt.engine.numbers import check_count
from fastrt.engine.session import Session
from fastrt.errors import EngineError, FastrtError
from fastrt.files import finish_interrupted
from fastrt.images.preprocess import find_resampler
from fastrt.targets.base import Layer, Mode, Runner, Target
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.registry import SUFFIXES, find_target, is_engine
from fastrt.targets.table import ROWS, Row

logger = logging.getLogger("fastrt")

PIXELS = {"u8_nhwc_bgr": "uint8 BGR pixels", "f32_nchw_rgb": "float32 RGB planes of 0 to 255"}
"""Input profiles in words."""


def load(
    path: str | os.PathLike[str], device: str | None = None, *, batch: int | None = None, mode: Mode = "latency"
) -> Session:
    """Load an engine file for inference.

    Args:
        path: an engine file of fastrt, or any engine file with the same inputs and outputs (see `describe`).
        device: ``cpu``, ``cuda:0``, or another device of the runtime; None for the target's default.
        batch: maximum number of images per run; None for the device's preferred batch size.
        mode: ``latency`` for single batches, ``throughput`` for many batches in a row.

    A file that states no description of fastrt is loaded with a warning of what is assumed.

    Raises:
        EngineError: the file does not exist, is not an engine, or is damaged; ``batch`` is not a whole number from 1
            to 65536; or ``mode`` is another.
        TargetError: the runtime, the device or the resampler is not available.
    """
    batch = None if batch is None else check_count(batch, "batch:")
    runner = open_runner(path, device, mode=mode)
    try:
        find_resampler(runner.info.resampler)
        session = Session(runner, batch, partial(load, Path(path).absolute(), device, batch=batch, mode=mode))
    except FastrtError:
        runner.close()
        raise
    if runner.info.fastrt is None:
        logger.warning(
            "%s: states no description of fastrt; assumed: %s as input, normalised inside the engine, and images"
            " resized by %s. Unknown: whether embeddings have unit length. If an assumption is wrong, so are the"
            " embeddings: build the engine with fastrt build, which states all of it",
            path,
            PIXELS[runner.info.io],
            runner.info.resampler,
        )
    return session


def open_runner(
    path: str | os.PathLike[str],
    device: str | None = None,
    *,
    intermediate: Collection[str] = (),
    mode: Mode = "latency",
) -> Runner:
    """Open the runner below a session; ``intermediate`` names the intermediate outputs to make readable.

    Raises as `load` does.
    """
    target, path = _find_engine(path)
    if mode not in get_args(Mode):
        raise EngineError(f"mode: {mode!r}; expected {' or '.join(get_args(Mode))}. Give one of them.")
    if not isinstance(device, str | None) or device == "":
        raise EngineError(f"device: {device!r}; expected a name such as cpu or cuda:0. Leave it out for the default.")
    return target.load(path, device or target.device, intermediate, mode)


def describe(path: str | os.PathLike[str]) -> EngineInfo:
    """Read an engine file's metadata; for files of other tools, derive it from the tensors alone.

    Raises:
        EngineError: the file does not exist, is not an engine, or is damaged.
    """
    target, path = _find_engine(path)
    return target.describe(path)


def engine_size(path: str | os.PathLike[str]) -> int:
    """Size of an engine in bytes, including its companion files.

    Raises:
        EngineError: the file does not exist, or its suffix is not an engine's.
    """
    target, path = _find_row(path)
    return sum(file.stat().st_size for file in target.list_files(path))


def list_layers(path: str | os.PathLike[str]) -> list[Layer]:
    """List the layers of an engine file in the order of the runtime's file. Raises as `describe` does."""
    target, path = _find_engine(path)
    return target.layers(path)


def _find_engine(path: str | os.PathLike[str]) -> tuple[Target, Path]:
    row, path = _find_row(path)
    return find_target(row.name), path


def _find_row(path: str | os.PathLike[str]) -> tuple[Row, Path]:
    if not isinstance(path, str | os.PathLike):
        raise EngineError(f"path: {type(path).__name__}; expected the path of an engine. Build one with fastrt build.")
    path = Path(path)
    finish_interrupted(path)
    if not os.path.exists(path):  # noqa: PTH110 (takes names that are too long for a file)
        raise EngineError(f"{path}: no such file; expected an engine. Build one with fastrt build.")
    if not path.is_file():
        raise EngineError(f"{path}: is a folder; expected an engine. Name the engine file in it.")
    if not is_engine(path):
        known = ", ".join(f"{suffix} ({target})" for suffix, target in SUFFIXES.items())
        raise EngineError(f"{path}: not the suffix of an engine; expected {known}. Build one with fastrt build.")
    if path.stat().st_size == 0:
        raise EngineError(f"{path}: is empty; expected an engine. Build it again.")
    return ROWS[SUFFIXES[path.suffix.lower()]], path

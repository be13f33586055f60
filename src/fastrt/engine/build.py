"""Build an engine file from a network."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Report
from fastrt.engine.load import load
from fastrt.engine.session import Session
from fastrt.engine.verify import verify, verify_int8
from fastrt.errors import CalibrationError, EngineError, TargetError
from fastrt.files import written_whole
from fastrt.ir.network import Network
from fastrt.passes import prepare
from fastrt.targets.base import BuildOptions, Target
from fastrt.targets.engine_info import EngineInfo, Io, Precision, Resampler
from fastrt.targets.registry import choose_target
from fastrt.version import __version__

logger = logging.getLogger("fastrt")

Checker = Callable[[Session], Report]
"""Compares a new engine with its network; the report is false if the engine failed."""


@dataclass(frozen=True)
class Built:
    """A new engine file.

    Attributes:
        info: the file's metadata, as `fastrt.describe` reads it.
        checks: the checks that the engine passed; None if it was not checked.
    """

    info: EngineInfo
    checks: Report | None


def build(
    network: Network,
    path: str | os.PathLike[str],
    target: str | None = None,
    precision: Precision = "fp32",
    *,
    normalize: bool = True,
    io: Io = "u8_nhwc_bgr",
    resampler: Resampler = "pil-bicubic",
    options: BuildOptions | None = None,
    check: bool | None = None,
    checker: Checker | None = None,
    table: CalibrationTable | None = None,
    kept: Collection[str] = (),
    min_similarity: float | None = None,
) -> Built:
    """Build an engine file with the given layers excluded from int8, and check it.

    `fastrt.build` documents the arguments and errors, and can find ``kept``. Here ``min_similarity`` is only stored in
    the file.
    """
    path = Path(path)
    chosen = choose_target(path, target, precision)
    options = _settle(chosen, options or BuildOptions())
    quantized = _quantizer(chosen, network, precision, table, kept)
    info = EngineInfo(
        fastrt=__version__,
        target=chosen.name,
        built_with=chosen.version(),
        precision=precision,
        io=io,
        image_size=(network.input.shape[1], network.input.shape[2]),
        embedding_dim=network.output.shape[0],
        normalized=normalize,
        resampler=resampler,
        fingerprint=network.fingerprint(),
        device=chosen.built_for(options),
        batches=options.batches or None,
        version_compatible=options.version_compatible,
        calibration=None if table is None else table.summary,
        kept=tuple(kept) or None,
        min_similarity=min_similarity,
        spec=network.spec,
    )
    with written_whole(path) as temporary:
        split = max(options.batches or (1,)) > chosen.whole_up_to
        prepared = prepare(network, info, strongly_typed=chosen.strongly_typed, split=split, quantized=quantized)
        chosen.build(prepared, temporary, info, options)
        checks = None
        if check is not False and checker is None:
            checker = _choose_checker(chosen, network, table, min_similarity, is_asked_for=check is True)
        if check is not False and checker is not None:
            with load(temporary) as session:
                checks = checker(session)
            if not checks:
                raise EngineError(f"{path}: the new engine failed its checks; no file is written.\n{checks}")
    return Built(info, checks)


def _choose_checker(
    target: Target,
    network: Network,
    table: CalibrationTable | None,
    min_similarity: float | None,
    is_asked_for: bool,
) -> Checker | None:
    """Choose the comparison with the reference; None for no check."""
    if is_asked_for or (target.measures and (table is None or min_similarity is not None)):
        return partial(verify, network=network, table=table)
    if table is None:
        return None
    if target.builds_elsewhere:
        logger.warning("%s builds for other hosts, so int8 is not compared with its reference here", target.name)
        return None
    return partial(verify_int8, network=network, table=table)


def _quantizer(
    target: Target, network: Network, precision: str, table: CalibrationTable | None, kept: Collection[str]
) -> Callable[[Network], Network] | None:
    """Choose the pass that quantizes a folded network; None for precisions other than int8."""
    if precision != "int8":
        if table is not None or kept:
            raise CalibrationError(
                f"a calibration table is for int8, and {precision} was asked for; leave one of them out"
            )
        return None
    if table is None:
        raise CalibrationError("int8 needs to know which values the tensors take; calibrate first: fastrt calibrate")
    table.check(network)
    return lambda folded: table.quantize(folded, target.placement, kept)


def default_timing_cache() -> Path:
    """Path of TensorRT's timing cache: in ``XDG_CACHE_HOME``, or in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fastrt" / "tensorrt-timing.cache"


def _settle(target: Target, options: BuildOptions) -> BuildOptions:
    """Fill in the target's default options.

    Raises:
        TargetError: the target lacks an option, or the batches are not in ascending order.
    """
    if not target.batches:
        for name in ("batches", "version_compatible", "hardware_compatible", "compute_capabilities", "timing_cache"):
            if getattr(options, name):
                raise TargetError(f"{target.name} has no {name}: its engines take any batch on any CPU; leave it out")
        return options
    if options.timing_cache and not target.measures:
        raise TargetError(f"{target.name} measures nothing when it builds, so it keeps no timing cache; leave it out")
    batches = options.batches or target.batches
    if min(batches) < 1 or list(batches) != sorted(set(batches)):
        raise TargetError(f"batches are {batches}; numbers of images are wanted, each larger than the one before")
    return replace(options, batches=batches)

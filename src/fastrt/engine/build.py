"""Build an engine file from a network."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.load import load
from fastrt.engine.session import Session
from fastrt.engine.verify import Report, verify, verify_int8
from fastrt.errors import CalibrationError, EngineError, TargetError
from fastrt.files import written_whole
from fastrt.ir.network import Network
from fastrt.passes import prepare
from fastrt.targets.base import BuildOptions, Target
from fastrt.targets.engine_info import EngineInfo, Io, Precision, Resampler
from fastrt.targets.registry import choose_target
from fastrt.version import __version__

logger = logging.getLogger("fastrt")

Checking = Callable[[Session], Report]
"""Measures an engine that was just built; the report is false if the engine failed."""


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
    check: Checking | Literal[False] | None = None,
    table: CalibrationTable | None = None,
    kept: Collection[str] = (),
    min_similarity: float | None = None,
) -> EngineInfo:
    """Build an engine file, whole or not at all.

    Args:
        network: what `fastrt.build_network` made.
        path: the file; ``.xml`` for openvino (its ``.bin`` comes to stand beside it), ``.onnx``, or ``.npz`` for
            reference.
        target: the runtime; told by the suffix if None.
        precision: what it computes in; refused where this machine does not have it.
        normalize: whether embeddings leave it with unit length; without, they are what FastReID's model returns.
        io: what it takes; ``u8_nhwc_bgr`` is ``(n, H, W, 3)`` uint8 BGR pixels, as OpenCV gives them,
            ``f32_nchw_rgb`` is ``(n, 3, H, W)`` float32 RGB pixels from 0 to 255.
        resampler: how a session brings images to its size; it stands in the file.
        options: batches to tune for, compatibility, a timing cache, progress; the target's own if None.
        check: called with a session of the new engine before the file appears; if its result is false, no file is
            written. None is `fastrt.engine.verify.verify_int8` for int8, `fastrt.verify` for other precisions of
            targets that choose their kernels by measuring (tensorrt), and nothing for the rest. False is no check.
        table: for int8, which values the tensors take: what `fastrt.calibrate` found.
        kept: for int8, convolutions that stay in floating point, by name.
        min_similarity: for int8, stands in the file: the mean-centred cosine to fp32 that `fastrt.verify` asks for.

    Returns:
        What the file says of itself.

    Raises:
        TargetError: no such target, its runtime is not installed, or the machine lacks the precision or an option.
        EngineError: the runtime cannot build the network, or the engine is found wanting.
        CalibrationError: int8 without a table, or with another network's; a table with another precision.
        OutputError: the file cannot be written.
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
        prepared = prepare(network, info, typed=chosen.typed, split=split, quantized=quantized)
        chosen.build(prepared, temporary, info, options)
        if check is None:
            check = default_check(chosen, network, table, min_similarity)
        if check:
            with load(temporary) as session:
                report = check(session)
            if not report:
                raise EngineError(f"{path} is not written, as the engine that was built is found wanting:\n{report}")
    return info


def default_check(
    target: Target, network: Network, table: CalibrationTable | None = None, min_similarity: float | None = None
) -> Checking | None:
    """The check of a new engine unless the user asks for another; None for no check. See `build`."""
    if target.measures and (table is None or min_similarity is not None):
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
    """What brings a folded network to eight bits, if that is the precision."""
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
    """Where TensorRT's timings are kept: in the user's cache folder, which ``XDG_CACHE_HOME`` may move."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fastrt" / "tensorrt-timing.cache"


def _settle(target: Target, options: BuildOptions) -> BuildOptions:
    """Options with the target's own in place of what was left open.

    Raises:
        TargetError: an option that the target does not have, or batches that make no ranges.
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

"""Build an engine file from a network."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Report
from fastrt.engine.finite import check_embeddings, embed_drawn, embed_in_float32
from fastrt.engine.load import open_runner
from fastrt.engine.session import Session
from fastrt.engine.verify import verify
from fastrt.errors import CalibrationError, EngineError, OutputError, TargetError
from fastrt.files import hash_file, written_whole
from fastrt.ir.network import Network
from fastrt.models.spec import ModelSpec
from fastrt.passes import prepare
from fastrt.targets.base import BuildOptions, Target
from fastrt.targets.engine_info import EngineInfo, Io, Precision, Resampler
from fastrt.targets.registry import choose_target
from fastrt.version import __version__

logger = logging.getLogger("fastrt")

Checker = Callable[[Session], Report]
"""Compares a new engine with its network; the report is false if the engine failed."""


@dataclass(frozen=True)
class EngineConfig:
    """The engine to build. `fastrt.build` documents the attributes; ``min_similarity`` is only stored here.

    ``whole`` keeps all tensors of the network, also where convolutions in parts are faster: calibration reads them.

    Raises:
        CalibrationError: int8 without a table, or a table or excluded layers with another precision.
    """

    precision: Precision = "fp32"
    normalize: bool = True
    io: Io = "u8_nhwc_bgr"
    resampler: Resampler = "pil-bicubic"
    options: BuildOptions = field(default_factory=BuildOptions)
    check: bool | None = None
    checker: Checker | None = None
    table: CalibrationTable | None = None
    kept: Collection[str] = ()
    min_similarity: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if self.precision == "int8" and self.table is None:
            raise CalibrationError(
                "precision int8: no calibration table; expected the network's. Calibrate first: fastrt calibrate."
            )
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            raise CalibrationError(
                f"min_similarity: {self.min_similarity}; expected a number from -1 to 1, a cosine. Lower it."
            )
        if self.precision != "int8" and (self.table is not None or self.kept):
            raise CalibrationError(
                f"precision {self.precision}: a calibration table or excluded layers are given; expected them for"
                " int8 only. Leave them out, or build int8."
            )


def build(
    network: Network,
    path: str | os.PathLike[str],
    config: EngineConfig,
    finish: Callable[[Path], None] = lambda _: None,
) -> tuple[EngineInfo, Report | None]:
    """Build an engine file, and check it; returns its metadata, and the checks that it passed, if any were made.

    The suffix determines the target. ``finish`` is called with the new file's temporary path after the checks; files
    that it writes beside it appear together with the engine. Raises as `fastrt.build` does.
    """
    path = Path(path)
    target = choose_target(path, None, config.precision)
    with written_whole(path) as temporary:
        info = write_engine(network, temporary, config)
        _refuse_foreign(path, temporary, target)
        checks = _check(temporary, target, network, info, config)
        finish(temporary)
        _refuse_foreign(path, temporary, target)  # files that appeared meanwhile
    return info, checks


def _refuse_foreign(path: Path, written: Path, target: Target) -> None:
    """Refuse to replace companions whose SHA-256 the engine beside them does not state, unless they equal the new ones.

    Raises:
        OutputError: there is such a file; it may be a user's own.
    """
    stated = path.read_bytes() if target.row.companions and path.is_file() else b""
    for suffix in target.row.companions:
        file = path.with_suffix(suffix)
        found = hash_file(file) if file.is_file() else ""
        if found.encode() not in stated and found != hash_file(written.with_suffix(suffix)):
            raise OutputError(
                f"{file}: exists, and is not of an engine {path.name}; expected a free name, as the build writes it"
                " too. Rename or delete it, or name another output."
            )


def write_engine(network: Network, path: Path, config: EngineConfig) -> EngineInfo:
    """Write an engine file in place and unchecked, for trials in a temporary folder; raises as `build` does."""
    target = choose_target(path, None, config.precision)
    options = _complete_options(target, config.options)
    quantized = _quantizer(target, network, config)
    info = EngineInfo(
        fastrt=__version__,
        target=target.name,
        built_with=target.version(),
        precision=config.precision,
        io=config.io,
        image_size=(network.input.shape[1], network.input.shape[2]),
        embedding_dim=network.output.shape[0],
        normalized=config.normalize,
        resampler=config.resampler,
        fingerprint=network.fingerprint(),
        device=target.built_for(options),
        batches=options.batches or None,
        version_compatible=options.version_compatible,
        calibration=None if config.table is None else config.table.summary,
        calibration_hash=None if config.table is None else config.table.digest,
        kept=tuple(config.kept) or None,
        min_similarity=config.min_similarity,
        spec=network.spec,
    )
    split = not config.whole and max(options.batches or (1,)) > target.whole_up_to
    prepared = prepare(network, info, strongly_typed=target.strongly_typed, split=split, quantized=quantized)
    target.build(prepared, path, info, options)
    return info


def _check(path: Path, target: Target, network: Network, info: EngineInfo, config: EngineConfig) -> Report | None:
    """Check a new engine; returns the comparison with the reference, if it was made.

    Raises:
        EngineError: the engine failed, or its embeddings are not finite.
        TargetError: the engine must be compared with the reference, but cannot run on this host.
    """
    checker = _choose_checker(target, network, config)
    try:
        session = Session(open_runner(path))  # not `load`: no image is resized, so OpenCV is not needed
    except (TargetError, EngineError) as error:
        if checker is not None or (isinstance(error, EngineError) and not target.builds_elsewhere):
            raise
        check_embeddings(path, info, embed_in_float32(network, info))  # it runs on other hosts only
        return None
    with session:
        check_embeddings(path, info, embed_drawn(session))
        checks = None if checker is None else checker(session)
    if checks is not None and not checks:
        raise EngineError(f"{path}: the new engine failed its checks; no file is written.\n{checks}")
    return checks


def _choose_checker(target: Target, network: Network, config: EngineConfig) -> Checker | None:
    """Choose the comparison with the reference; None for no check."""
    table = config.table
    if config.check is False:
        return None
    if config.checker is not None:
        return config.checker
    if not config.check and target.builds_elsewhere:
        if table is not None:
            logger.warning("%s builds for other hosts, so int8 is not compared with its reference here", target.name)
        return None
    if config.check or target.measures or table is not None:
        return partial(verify, network=network, table=table)
    return None


def _quantizer(target: Target, network: Network, config: EngineConfig) -> Callable[[Network], Network] | None:
    """Choose the pass that quantizes a simplified network; None for precisions other than int8."""
    table = config.table
    if table is None:
        return None
    table.check(network)
    return lambda simplified: table.quantize(simplified, target.placement, config.kept)


def default_resampler(network: Network) -> Resampler:
    """Return the resampler that the network's family is trained and evaluated with."""
    return ModelSpec(**network.spec).backbone.RESAMPLER


def default_timing_cache() -> Path:
    """Path of TensorRT's timing cache: in ``XDG_CACHE_HOME``, or in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fastrt" / "tensorrt-timing.cache"


def _complete_options(target: Target, options: BuildOptions) -> BuildOptions:
    """Fill in the target's default options.

    Raises:
        TargetError: the target lacks an option, or the batches are not in ascending order.
    """
    if not target.batches:
        for name in ("batches", "version_compatible", "hardware_compatible", "compute_capabilities", "timing_cache"):
            if getattr(options, name):
                raise TargetError(
                    f"{target.name}: {name} is set; expected no such option, as its engines take any batch on any CPU."
                    " Leave it out."
                )
        return options
    if options.timing_cache and not target.measures:
        raise TargetError(
            f"{target.name}: timing_cache is set; expected none, as this target times no kernels. Leave it out."
        )
    batches = options.batches or target.batches
    if min(batches) < 1 or list(batches) != sorted(set(batches)):
        raise TargetError(
            f"batches: {batches}; expected numbers of images from 1, each larger than the one before. Sort them."
        )
    return replace(options, batches=batches)

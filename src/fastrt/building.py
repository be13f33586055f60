"""Build an engine; for int8, also find the layers to exclude from int8."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastrt.arrays import Array, Image
from fastrt.engine.build import Built, Checker
from fastrt.engine.build import build as build_engine
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Report
from fastrt.engine.load import load
from fastrt.engine.verify import COSINE, verify
from fastrt.errors import CalibrationError, TargetError
from fastrt.files import written_whole
from fastrt.ir.network import Network
from fastrt.quantization.evaluation_images import choose_images
from fastrt.quantization.exclusion import exclude_layers
from fastrt.quantization.report import QuantizationReport, compare_int8
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo, Io, Precision, Resampler
from fastrt.targets.registry import choose_target

logger = logging.getLogger("fastrt")


@dataclass(frozen=True)
class BuildReport(Built):
    """A new engine file; ``print(report)`` shows the figures.

    Attributes:
        info: the file's metadata, as `fastrt.describe` reads it.
        checks: the checks that the engine passed; None if it was not checked.
        quantization: the comparison of int8 with fp32, in similarity, size and speed; None if there was none.
        verified: for a compared int8 engine, the report of `fastrt.verify`; the engine is written even if it fails.
    """

    quantization: QuantizationReport | None = None
    verified: Report | None = None

    def __bool__(self) -> bool:
        """Return False if `fastrt.verify` fails for the engine."""
        return self.verified is None or bool(self.verified)

    def __str__(self) -> str:
        height, width = self.info.image_size
        lines = [line for report in (self.checks, self.verified) if report is not None for line in report.lines()]
        if self.quantization is not None:
            lines.append(str(self.quantization))
        lines.append(f"{height}x{width} to {self.info.embedding_dim}, {self.info.target} {self.info.precision}")
        return "\n".join(lines)


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
    images: Sequence[str | os.PathLike[str]] | Sequence[Image] | Array | None = None,
    compare: bool = False,
) -> BuildReport:
    """Build an engine file, whole or not at all.

    Args:
        network: the result of `fastrt.build_network`.
        path: the file; ``.xml`` for openvino (with a ``.bin`` beside it), ``.onnx``, ``.npz`` for reference,
            ``.engine`` for tensorrt, ``.rtx`` for tensorrt-rtx.
        target: the runtime; inferred from the suffix if None.
        precision: the precision of the computation.
        normalize: give embeddings unit length; without, they are those of FastReID's model.
        io: ``u8_nhwc_bgr`` is ``(n, H, W, 3)`` uint8 BGR pixels, OpenCV's layout; ``f32_nchw_rgb`` is
            ``(n, 3, H, W)`` float32 RGB pixels from 0 to 255.
        resampler: the method by which a session resizes images; stored in the file.
        options: batches to tune for, compatibility, timing cache, progress; None for the target's defaults.
        check: compare the engine with the reference before the file appears, and write no file if it fails. None:
            check int8 engines, and targets that auto-tune kernels (tensorrt).
        checker: the comparison to make instead of fastrt's own, unless ``check`` is False.
        table: for int8, the result of `fastrt.calibrate`.
        kept: for int8, names of convolutions to exclude from int8.
        min_similarity: for int8, the least mean-centred cosine to fp32 that each of ``images`` must reach. The smallest
            set of convolutions that reaches it is excluded from int8. On TensorRT, convolutions that are slower in int8
            are excluded too, if the engine gets faster. The bound is stored in the file, and `fastrt.verify` checks it.
        images: for int8, at least 8 images to compare with fp32 on: files, folders or patterns, or ``(h, w, 3)``
            uint8 BGR arrays. None: images that calibration did not use, or else drawn images.
        compare: for int8, compare the engine with fp32 in similarity, size and speed, and with `fastrt.verify`; a large
            difference is logged as a warning. Implied by ``min_similarity`` and ``images``.

    Raises:
        TargetError: the target is unknown, its runtime is not installed, or the host lacks the precision or an option.
        EngineError: the runtime cannot build the network, or the engine failed its checks.
        CalibrationError: int8 without a table, or with another network's; an int8 argument with another precision;
            a bound that cannot be reached; too few images.
        ImageError: a path in ``images`` has no images.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    chosen = choose_target(path, target, precision)
    compare = compare or min_similarity is not None or images is not None
    if compare and precision != "int8":
        raise CalibrationError(f"min_similarity, images and compare are for int8, and {precision} was asked for")
    if min_similarity is not None and kept:
        raise CalibrationError("min_similarity finds the convolutions to keep in floating point; leave kept out")
    options = options or BuildOptions()
    advance = options.progress or _ignore
    make = partial(
        build_engine, network, target=target, normalize=normalize, io=io, resampler=resampler, options=options
    )

    def make_trial(path: Path, precision: Precision, kept: Collection[str]) -> EngineInfo:
        """Build an engine to measure; it is deleted afterwards."""
        given = table if precision == "int8" else None
        return make(path, precision=precision, table=given, kept=kept, check=False).info

    evaluated = None
    if table is not None and compare:
        table.check(network)
        evaluated = choose_images(table, images)
        if min_similarity is not None:
            kept = exclude_layers(network, table, chosen, min_similarity, evaluated.images, make_trial, advance)
    finish = partial(
        make, precision=precision, table=table, kept=kept, min_similarity=min_similarity, check=check, checker=checker
    )
    if table is None or evaluated is None:
        built = finish(path)
        return BuildReport(built.info, built.checks)
    with written_whole(path) as temporary:
        built = finish(temporary)
        try:
            comparison = compare_int8(temporary, network, table, evaluated.images, evaluated.description, advance)
            with load(temporary) as session:
                verified = verify(session, network)
        except TargetError as error:
            logger.warning("what int8 changed is not measured, as the engine cannot run here: %s", error)
            return BuildReport(built.info, built.checks)
        report = BuildReport(built.info, built.checks, comparison, verified)
        _warn_of_loss(report)
    return report


def _warn_of_loss(report: BuildReport) -> None:
    """Log a warning if int8 changes the embeddings so much that `fastrt.verify` fails, or would on such images."""
    assert report.quantization is not None
    least = report.quantization.least_similarity
    bound = report.info.min_similarity or COSINE["int8"]
    if report and least >= bound:
        return
    failed = "; fastrt verify fails" if not report else ""
    logger.warning(
        "int8: least mean-centred cosine to fp32 %.4f (%s); expected at least %.4f%s."
        " Build with --min-similarity %.4g (min_similarity in Python), or in another precision.",
        *(least, report.quantization.images, bound, failed, bound),
    )


def _ignore(phase: str, done: int, steps: int) -> None:
    """Ignore progress."""

"""Build an engine; for int8, also find the layers to exclude from int8."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from fastrt.engine.build import Checker, EngineConfig, default_resampler, write_engine
from fastrt.engine.build import build as build_engine
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Report
from fastrt.engine.int8_checks import warn_of_similarity
from fastrt.engine.verify import draw_checked
from fastrt.errors import CalibrationError, OutputError, TargetError
from fastrt.files import finish_interrupted, hash_file, writing
from fastrt.images.preprocess import find_resampler
from fastrt.ir.network import Network
from fastrt.quantization.evaluation_images import GivenImages, choose_images
from fastrt.quantization.layer_timing import exclude_slower
from fastrt.quantization.report import QuantizationReport, compare_int8, engine_of_report, is_report, report_paths
from fastrt.quantization.sensitivity import find_mix
from fastrt.signatures import checked
from fastrt.targets.base import BuildOptions, Target
from fastrt.targets.engine_info import EngineInfo, Io, Precision, Resampler
from fastrt.targets.registry import choose_target, find_sibling
from fastrt.targets.table import ROWS
from fastrt.weights.formats import is_recognised, read_head

logger = logging.getLogger("fastrt")


@dataclass(frozen=True)
class BuildReport:
    """A new engine file; ``print(report)`` shows the figures.

    Attributes:
        info: the file's metadata, as `fastrt.describe` reads it.
        checks: the checks that the engine passed; None if it was not checked.
        quantization: the comparison of int8 with fp32, in similarity, size and speed; None if there was none.
    """

    info: EngineInfo
    checks: Report | None
    quantization: QuantizationReport | None = None

    def __str__(self) -> str:
        height, width = self.info.image_size
        lines = [] if self.checks is None else self.checks.lines()
        if self.quantization is not None:
            lines.append(str(self.quantization))
        lines.append(f"{height}x{width} to {self.info.embedding_dim}, {self.info.target} {self.info.precision}")
        return "\n".join(lines)


@checked(
    TargetError,
    *("network", "path", "target", "normalize", "io", "resampler", "options", "check", "checker", "table", "kept"),
    *("min_similarity", "images", "compare"),
)
def build(
    network: Network,
    path: str | os.PathLike[str],
    target: str | None = None,
    precision: Precision = "fp32",
    *,
    normalize: bool = True,
    io: Io = "u8_nhwc_bgr",
    resampler: Resampler | None = None,
    options: BuildOptions | None = None,
    check: bool | None = None,
    checker: Checker | None = None,
    table: CalibrationTable | None = None,
    kept: Collection[str] = (),
    min_similarity: float | None = None,
    images: GivenImages | None = None,
    compare: bool = False,
) -> BuildReport:
    """Build an engine file, whole or not at all.

    Args:
        network: the result of `fastrt.build_network`.
        path: ``.xml`` for openvino (with a ``.bin`` beside it), ``.onnx``, ``.npz`` for reference, ``.engine`` for
            tensorrt, ``.rtx`` for tensorrt-rtx.
        target: the runtime; inferred from the suffix if None.
        precision: the precision of the computation.
        normalize: give embeddings unit length; without, they are those of FastReID's model.
        io: ``u8_nhwc_bgr``, ``(n, H, W, 3)`` uint8 BGR; ``f32_nchw_rgb``, ``(n, 3, H, W)`` float32 RGB, 0 to 255.
        resampler: the method by which a session resizes images; stored in the file. None: the one that the model's
            library trains and evaluates with, ``pil-bicubic`` for FastReID, ``pil-bilinear`` for torchreid.
        options: batches to tune for, compatibility, timing cache, progress; None for the target's defaults.
        check: compare the engine with the reference, and write no file if it fails. None: check int8 engines, and
            targets that auto-tune kernels (tensorrt).
        checker: the comparison to make instead of fastrt's own, unless ``check`` is False.
        table: for int8, the result of `fastrt.calibrate`.
        kept: for int8, names of layers to exclude from int8.
        min_similarity: for int8, the least mean-centred cosine to fp32 of each of ``images``. The smallest set of
            layers that reaches it is excluded from int8. On TensorRT, layers that are slower in int8 are
            excluded too, if the engine gets faster. The bound is stored in the file, and `fastrt.verify` checks it.
        images: for int8, at least 8 images to compare with fp32 on: files, folders or patterns, or ``(h, w, 3)`` uint8
            BGR arrays. None: images that calibration did not use, or else drawn images.
        compare: for int8, compare with fp32 in similarity, size and speed, and write the report beside the engine as
            ``.report.json`` and ``.report.md``. Implied by ``min_similarity`` or ``images``.

    Raises:
        TargetError: an argument has another type; the target is unknown, its runtime is not installed, or the host
            lacks the precision, an option or, to compare int8, the resampler.
        EngineError: the runtime cannot build the network, or the engine failed its checks.
        CalibrationError: int8 without a table, or with another network's; an int8 argument with another precision;
            a bound that cannot be reached; too few images.
        ImageError: a path in ``images`` has no images.
        OutputError: the file cannot be written; or the place of its ``.bin`` or report has a file that is not of an
            engine at ``path``.
    """
    path = Path(path)
    chosen = choose_target(path, target, precision)
    options = options or BuildOptions()
    resampler = resampler or default_resampler(network)
    config = EngineConfig(
        precision, normalize, io, resampler, options, check, checker, table, tuple(kept), min_similarity
    )
    compared = compare or min_similarity is not None or images is not None
    replaced = _refuse_foreign(path, chosen.name, compared)
    if compared:
        report = _build_and_compare(network, path, chosen, config, images)
    else:
        report = BuildReport(*build_engine(network, path, config))
    if report.quantization is None:
        _remove_reports(replaced)
    return report


def _refuse_foreign(path: Path, target: str, with_report: bool) -> list[Path]:
    """Refuse to overwrite files that are not of an engine at ``path``; return the report of the engine that is there.

    Raises:
        OutputError: such a file is in the place of a companion, or of the report that the build writes.
    """
    finish_interrupted(path)
    with writing(path):
        companions = [file for file in map(path.with_suffix, ROWS[target].companions) if file.is_file()]
        foreign = [file for file in companions if is_recognised(read_head(file))]
    reports = list(filter(os.path.isfile, report_paths(path)))  # os.path takes names that are too long for a file
    if with_report:
        with writing(report_paths(path)[0]):
            report_paths(path)[0].exists()  # raises for such a name
    reported = engine_of_report(path)
    sibling = find_sibling(path, reported)
    others = [file for file in reports if sibling or not is_report(file)]
    if refused := [*foreign, *(others if with_report else ())]:
        raise OutputError(
            f"{refused[0]}: exists, and is not of an engine {path.name}; expected a free name, as the build writes it"
            " too. Rename or delete it, or name another output."
        )
    is_replaced = os.path.isfile(path) and hash_file(path) == reported  # noqa: PTH113
    return [file for file in reports if is_replaced and file not in others]


def _build_and_compare(
    network: Network, path: Path, target: Target, config: EngineConfig, given: GivenImages | None
) -> BuildReport:
    """Build an int8 engine, with the layers excluded that ``config.min_similarity`` requires; compare it with fp32."""
    if config.precision != "int8":
        raise CalibrationError(
            f"precision {config.precision}: min_similarity, images or compare is given; expected them for int8 only."
            " Leave them out, or build int8."
        )
    if config.min_similarity is not None and config.kept:
        raise CalibrationError(
            "build: min_similarity and kept; expected one of them, as min_similarity selects layers. Leave kept out."
        )
    table = config.table
    assert table is not None  # `EngineConfig` has checked it
    table.check(network)
    find_resampler(config.resampler)  # fails before the engine is built
    images, description = choose_images(table, given)
    advance = config.options.progress or (lambda *_: None)
    if config.min_similarity is not None:
        searched = [*images, *draw_checked(network)]  # the bound must hold where `fastrt.verify` checks it, too
        kept = find_mix(network, table, target.name, config.min_similarity, searched, advance).kept
        config = replace(config, kept=_exclude_slower(network, target, config, kept, advance))
    comparison: list[QuantizationReport] = []

    def compare(engine: Path) -> None:
        try:
            comparison.append(compare_int8(engine, network, table, images, description, advance))
        except TargetError as error:
            logger.warning("int8 is not compared with fp32, because the engine cannot run on this host: %s", error)
        else:
            _refuse_foreign(path, target.name, with_report=True)  # files that appeared meanwhile
            comparison[0].save(engine)
            if config.min_similarity is None:
                warn_of_similarity(comparison[0].least_similarity, description)

    info, checks = build_engine(network, path, config, compare)
    return BuildReport(info, checks, *comparison)


def _remove_reports(reports: Collection[Path]) -> None:
    for report in reports:
        report.unlink(missing_ok=True)
        logger.warning("%s: deleted, because it was of the engine that stood here before", report)


def _exclude_slower(
    network: Network,
    target: Target,
    config: EngineConfig,
    kept: tuple[str, ...],
    advance: Callable[[str, int, int], None],
) -> tuple[str, ...]:
    """Add the layers that are slower in int8 to ``kept``, on targets that time their layers (tensorrt)."""

    def build_trial(path: Path, precision: Precision, kept: Collection[str]) -> EngineInfo:
        table = config.table if precision == "int8" else None
        trial = replace(config, precision=precision, table=table, kept=kept, min_similarity=None)
        return write_engine(network, path, trial)

    if not target.measures:
        return kept
    selection = exclude_slower(network, target.name, kept, build_trial, advance)
    logger.warning("%s", selection)
    return selection.kept

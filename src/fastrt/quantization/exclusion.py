"""Select the convolutions to exclude from int8: for similarity first, then for speed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fastrt.arrays import Array, Image
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.ir.network import Network
from fastrt.quantization.layer_timing import Build, keep_slower
from fastrt.quantization.sensitivity import find_mix
from fastrt.targets.base import Target

logger = logging.getLogger("fastrt")


def exclude_layers(
    network: Network,
    table: CalibrationTable,
    target: Target,
    min_similarity: float,
    images: Sequence[Image] | Array,
    build: Build,
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[str, ...]:
    """Select the convolutions to exclude from int8.

    For similarity: the smallest set that brings every image's mean-centred cosine to fp32 above the bound. For speed,
    on targets that time their layers (tensorrt): convolutions that are slower in int8, if their exclusion makes the
    engine faster. The measured speeds are logged as a warning.

    Args:
        network: the result of `fastrt.build_network`.
        table: the calibration table of the same network.
        target: the target of the engine.
        min_similarity: the bound, up to 1.
        images: ``(h, w, 3)`` uint8 BGR, at least 2 that calibration did not use.
        build: builds an engine to measure.
        advance: called with a phase's name, steps done and steps in all.

    Raises:
        CalibrationError: as `fastrt.quantization.sensitivity.find_mix`.
    """
    kept = find_mix(network, table, target.name, min_similarity, images, advance).kept
    if not target.measures:
        return kept
    pace = keep_slower(network, target.name, kept, build, advance)
    logger.warning("%s", pace)
    return pace.kept

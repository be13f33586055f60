"""Checks of int8 engines: against the reference of the same int8 network, and for similarity to fp32."""

from __future__ import annotations

import logging

import numpy as np

from fastrt.arrays import Array
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Check
from fastrt.engine.measures import COSINE, differ, embed_reference, is_unit_length, to_pixels
from fastrt.errors import CalibrationError
from fastrt.ir.network import Network
from fastrt.passes import HALVES, simplify
from fastrt.passes.half import compute_in_half
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference import DrawnReference, Reference
from fastrt.targets.registry import find_target

logger = logging.getLogger("fastrt")

INT8_COSINE = 0.99
"""Least cosine of an int8 engine to the reference of the same int8 network, unless rounding alone lowers it further.

A trained network reaches 0.9999, and engines that saturate at most 0.97: ADR 14."""

DRAWS = 4
INT8_ROUNDING = 1.5
"""For int8 networks that amplify rounding: the number of reference runs with random rounding, and the tolerance as a
multiple of the largest error among them: ADR 14.

Less than `ROUNDING`, because saturation in a deep network causes only twice that error."""

LEAST_INT8 = 0.0
"""Least cosine to fp32 of an int8 engine without a bound: below, it is unrelated to its network.

From here to `COSINE` it passes with a warning. The loss may be that of int8 itself: untrained networks go down to 0.27,
with engines that equal their int8 reference. `check_int8` compares with that reference."""

BOUND_SLACK = 1.1
"""Tolerance for a bound of `fastrt.build`, as a multiple of the loss that it allows: the search runs on the CPU."""


def check_similarity(info: EngineInfo, got: Array, want: Array) -> Check:
    """Check the similarity of an int8 engine to fp32: its bound, or `LEAST_INT8`."""
    if not np.isfinite(got).all():
        return Check("values", False, "has NaN or infinity")
    similarity = 1 - differ(info, got, want, want.mean(0))
    if info.min_similarity is not None:
        least = 1 - BOUND_SLACK * (1 - info.min_similarity)
    else:
        least = LEAST_INT8
        warn_of_similarity(similarity, f"{len(got)} images")
    figures = f"mean-centred cosine {similarity:.5f} to fp32, at least {least:.5f} expected in int8"
    return Check("values", similarity >= least, figures)


def warn_of_similarity(similarity: float, images: str) -> None:
    """Log a warning if an int8 engine is less similar to fp32 than `COSINE` on ``images``, which is their number."""
    if similarity < COSINE["int8"]:
        logger.warning(
            "the least mean-centred cosine of int8 to fp32 is %.4f on %s, below %.2f: build it with --min-similarity"
            " %.2f to exclude layers from int8, or calibrate on other images",
            similarity,
            images,
            COSINE["int8"],
            COSINE["int8"],
        )


def check_int8(info: EngineInfo, network: Network, table: CalibrationTable, batch: Array, got: Array) -> Check:
    """Check that an int8 engine matches its own network, within `INT8_COSINE` or the reference's error by rounding."""
    table.check(network)
    stated = (info.calibration, info.calibration_hash or table.digest)  # earlier versions stated no hash
    if stated != (table.summary, table.digest):
        raise CalibrationError(
            f"calibration table: {table.summary}, SHA-256 {table.digest[:8]}...; expected the engine's,"
            f" {info.calibration}, {stated[1][:8]}.... Give the table that the engine was built with."
        )
    if not np.isfinite(got).all():
        return Check("int8", False, "has NaN or infinity")
    target = find_target(info.target)
    quantized = table.quantize(simplify(network), target.placement, info.kept or ())
    pixels, is_unit = to_pixels(batch), is_unit_length(info, got)
    want = embed_reference(Reference(pixels), quantized, is_unit)
    difference, allowed = differ(info, got, want, want.mean(0)), 1 - INT8_COSINE
    if difference > allowed:
        rounded = compute_in_half(quantized, HALVES["int8"]) if target.strongly_typed else quantized
        draws = (embed_reference(DrawnReference(pixels, seed), rounded, is_unit) for seed in range(DRAWS))
        allowed = max(allowed, INT8_ROUNDING * max(differ(info, rows, want, want.mean(0)) for rows in draws))
    if allowed >= 1:
        return Check(
            "int8", True, "not compared with the int8 reference: rounding alone changes the embeddings as much"
        )
    figures = f"mean-centred cosine {1 - difference:.5f} to the int8 reference, at least {1 - allowed:.5f} expected"
    return Check("int8", difference <= allowed, figures)

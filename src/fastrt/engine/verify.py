"""Compare an engine on drawn images with the reference, which computes the same network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from fastrt.arrays import Array, Image
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Check, Report
from fastrt.engine.load import open_runner
from fastrt.engine.session import Session
from fastrt.errors import CalibrationError, EngineError
from fastrt.images.drawing import draw_person
from fastrt.ir.network import Network, Tensor
from fastrt.passes import HALVES
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.similarity import centred_cosines, nearest_agreement, normalize_rows, rank_agreement
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference import DrawnReference, HalfSumsReference, Reference, RoundingReference
from fastrt.targets.registry import find_target

TOLERANCE = 1e-4
"""Tolerance for fp32: the largest difference, divided by the largest absolute value of the reference: ADR 1.

ADRs are in docs/explanation/decisions."""

ROUNDING = 3.0
"""Tolerance for networks that amplify rounding, as a multiple of the reference's own error in the same precision.

That error predicts the errors of FastReID and of engines within a factor of 2: ADR 1, and ADR 7 for FP16."""

COSINE = {"tf32": 0.9995, "fp16": 0.999, "bf16": 0.99, "int8": 0.97}
"""Tolerance below fp32: the least mean-centred cosine, with the reference's mean embedding subtracted from both.

Raw cosines hide errors, because all embeddings of a network point in a similar direction. fp16: a trained network
passes on TensorRT 8.6 (ADR 9). int8: ADR 8. tf32 and bf16 were not measured: tf32 has the mantissa of fp16, but a wider
exponent, and bf16 has 3 bits less."""

ROUNDED_LIKE = {"tf32": "float16", "fp16": "float16", "bf16": "bfloat16"}
"""The type in which the reference emulates a precision; tf32 has as many mantissa bits as float16."""

SUMS_IN_HALF = {("tensorrt", "fp16"), ("tensorrt-rtx", "fp16")}
"""Targets and precisions whose convolutions accumulate in FP16: ADR 9."""

INT8_COSINE = 0.99
"""Least cosine of an int8 engine to the reference of the same int8 network, unless rounding alone lowers it further.

A trained network reaches 0.9999, and engines that saturate at most 0.97: ADR 14."""

DRAWS = 4
INT8_ROUNDING = 1.5
"""For int8 networks that amplify rounding: the number of reference runs with random rounding, and the tolerance as a
multiple of the largest error among them: ADR 14.

Less than `ROUNDING`, because saturation in a deep network causes only twice that error."""

IMAGES = 4
RANKED_IMAGES = 16
"""Numbers of drawn images: by default, and for int8, where ranks are compared too."""


def verify(
    session: Session,
    network: Network,
    images: Sequence[Image] | None = None,
    table: CalibrationTable | None = None,
) -> Report:
    """Compare an engine with its network.

    Three checks: the fingerprint is the network's; the embeddings agree with the reference's within the precision's
    tolerance; an image's embedding depends neither on the batch size nor on its place in the batch. For int8, the
    report also has the change in the images' order of neighbours.

    Args:
        session: the engine.
        network: the result of `fastrt.build_network` for the checkpoint.
        images: ``(h, w, 3)`` uint8 BGR arrays, at least 2; None for drawn images.
        table: the table that an int8 engine was built with, if available.

    Raises:
        EngineError: the engine's input or output shapes differ from the network's, so nothing can be compared.
        CalibrationError: the table belongs to another network, or the engine is not in int8.
    """
    info = session.info
    if table is not None and info.precision != "int8":
        raise CalibrationError(
            f"engine: precision {info.precision} and a calibration table; expected one for int8 only. Leave it out."
        )
    batch = _prepare_images(session, network, images)
    pixels = _pixels(batch)
    got = session(batch)
    is_unit = _is_unit(info, got)
    want = _embed(Reference(pixels), network, is_unit)
    noise = 0.0
    for tensor, value in _rounded(network, pixels, info):
        if tensor.name == network.output.name:
            noise = _differ(info, normalize_rows(value) if is_unit else value, want, want.mean(0))
    checks = [
        _check_fingerprint(info, network),
        _check("values", info, got, want, want.mean(0), noise),
        _check_places(session, batch, got, noise),
    ]
    if info.precision == "int8":
        same, tau = nearest_agreement(got, want), rank_agreement(got, want)
        figures = f"same image nearest {same:.0%}, Kendall's tau of neighbours {tau:.3f}, of {len(batch)} images"
        checks.append(Check("ranks", True, figures))
    if table is not None:
        checks.append(_check_int8(info, network, table, batch, got))
    return Report(tuple(checks))


def verify_int8(session: Session, network: Network, table: CalibrationTable) -> Report:
    """Compare an int8 engine with the reference of the same int8 network, on drawn images.

    This measures the runtime and the host's CPU, without the effect of int8 itself on the embeddings. Arguments and
    errors are those of `verify`.
    """
    batch = _prepare_images(session, network, None)[:IMAGES]
    return Report((_check_int8(session.info, network, table, batch, session(batch)),))


def verify_layers(
    engine: str | os.PathLike[str],
    network: Network,
    images: Sequence[Image] | None = None,
    device: str | None = None,
) -> Report:
    """Compare an engine's tensors with the reference's tensors of the same names, up to the first difference.

    Tensors that are missing in the engine, because it fused or renamed them, are skipped.

    Args:
        engine: the engine file.
        network: the result of `fastrt.build_network` for the checkpoint.
        images: as for `verify`.
        device: as for `fastrt.load`.

    Raises:
        EngineError: as `verify`.
    """
    raw = f"{network.output.name}.raw"
    runner = open_runner(engine, device, intermediate=[*(tensor.name for tensor in network), raw])
    with Session(runner) as session:
        batch = _prepare_images(session, network, images)[:2]
        values = runner.run_intermediate(session.prepare(batch))
    pixels = _pixels(batch)
    near = {tensor.name: value for tensor, value in _rounded(network, pixels, runner.info)}
    checks: list[Check] = []
    for tensor, want in Reference(pixels).lower(network):
        name = tensor.name if tensor is not network.output or not runner.info.normalized else raw
        got = values.get(name)
        if got is None or got.shape != want.shape or tensor is network.input:
            continue
        noise = _differ(runner.info, near[tensor.name], want, want.mean(0)) if tensor.name in near else 0.0
        checks.append(_check(tensor.name, runner.info, got, want, want.mean(0), noise))
        if not checks[-1].passed:
            break
    if not checks:
        raise EngineError("engine: no tensor has a name of the network; expected some. Verify it without its layers.")
    return Report(tuple(checks))


def _prepare_images(session: Session, network: Network, images: Sequence[Image] | None) -> Array:
    """Make a batch ``(n, H, W, 3)`` uint8 BGR at the engine's size, after checking that the network's is the same."""
    info = session.info
    size, dimension = network.input.shape[1:], network.output.shape[0]
    if info.image_size != size or info.embedding_dim != dimension:
        raise EngineError(
            f"engine: {info.image_size} images to {info.embedding_dim} numbers; expected {size} to {dimension}, as the"
            " network. Verify an engine with its own checkpoint and config."
        )
    if images is None:
        count = RANKED_IMAGES if info.precision == "int8" else IMAGES
        return np.stack([draw_person(i // 2, i % 2, *size) for i in range(count)])
    if len(images) < 2:
        raise EngineError(f"images: {len(images)}; expected at least 2 to verify with. Give more.")
    return session.resize(images)


def _pixels(batch: Array) -> Array:
    """Convert a batch to the network's input: ``(n, 3, H, W)`` float32 RGB, 0 to 255."""
    return batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


def _embed(reference: Reference, network: Network, is_unit: bool) -> Array:
    *_, (_, rows) = reference.lower(network)
    return normalize_rows(rows) if is_unit else rows


def _rounded(network: Network, pixels: Array, info: EngineInfo) -> Iterator[tuple[Tensor, Array]]:
    """Run the reference with the rounding that the engine's precision causes in any runtime.

    Empty for int8, because the check is about the similarity to fp32.
    """
    if info.precision == "int8":
        return iter(())
    if _compares_values(info):
        return Reference(pixels, np.float32).lower(network)
    half = compute_in_half(fold_scales(network), ROUNDED_LIKE[str(info.precision)])
    sums_in_half = (info.target, info.precision) in SUMS_IN_HALF
    return (HalfSumsReference if sums_in_half else RoundingReference)(pixels).lower(half)


def _compares_values(info: EngineInfo) -> bool:
    return info.precision not in COSINE


def _check_int8(info: EngineInfo, network: Network, table: CalibrationTable, batch: Array, got: Array) -> Check:
    """Check that an int8 engine matches its own network, within `INT8_COSINE` or the reference's error by rounding."""
    table.check(network)
    if info.calibration != table.summary:
        raise CalibrationError(
            f"calibration table: {table.summary}; expected the engine's, {info.calibration}. Give the table that the"
            " engine was built with."
        )
    if not np.isfinite(got).all():
        return Check("int8", False, "has NaN or infinity")
    target = find_target(info.target)
    quantized = table.quantize(fold_scales(network), target.placement, info.kept or ())
    pixels, is_unit = _pixels(batch), _is_unit(info, got)
    want = _embed(Reference(pixels), quantized, is_unit)
    difference, allowed = _differ(info, got, want, want.mean(0)), 1 - INT8_COSINE
    if difference > allowed:
        rounded = compute_in_half(quantized, HALVES["int8"]) if target.strongly_typed else quantized
        draws = (_embed(DrawnReference(pixels, seed), rounded, is_unit) for seed in range(DRAWS))
        allowed = max(allowed, INT8_ROUNDING * max(_differ(info, rows, want, want.mean(0)) for rows in draws))
    if allowed >= 1:
        return Check(
            "int8", True, "not compared with the int8 reference: rounding alone changes the embeddings as much"
        )
    figures = f"mean-centred cosine {1 - difference:.5f} to the int8 reference, at least {1 - allowed:.5f} expected"
    return Check("int8", difference <= allowed, figures)


def _check_fingerprint(info: EngineInfo, network: Network) -> Check:
    if info.fingerprint is None:
        return Check("fingerprint", True, "not compared: the file has no fingerprint")
    same = info.fingerprint == network.fingerprint()
    figures = "built from this network" if same else "built from another checkpoint, config or version of fastrt"
    return Check("fingerprint", same, figures)


def _check_places(session: Session, batch: Array, got: Array, noise: float) -> Check:
    """Check that the last image gives the same embedding at every place of every batch size that was tuned for."""
    sizes = sorted({1, session.batch, *(size for size in session.info.batches or () if size <= session.batch)})
    rows = np.concatenate([session(np.repeat(batch[-1:], size, axis=0)) for size in sizes])
    return _check("places", session.info, rows, np.repeat(got[-1:], len(rows), axis=0), got.mean(0), noise)


def _check(name: str, info: EngineInfo, got: Array, want: Array, centre: Array, noise: float) -> Check:
    """Check that ``got`` equals ``want`` within the precision's tolerance; ``noise`` is the error by rounding alone."""
    if not np.isfinite(got).all():
        return Check(name, False, "has NaN or infinity")
    difference = _differ(info, got, want, centre)
    if _compares_values(info):
        allowed = max(TOLERANCE, ROUNDING * noise)
        figures = f"differ by {difference:.1e} of the largest value, {allowed:.1e} allowed"
    else:
        least = COSINE[str(info.precision)] if info.min_similarity is None else info.min_similarity
        allowed = max(1 - least, ROUNDING * noise)
        figures = f"mean-centred cosine {1 - difference:.5f}, at least {1 - allowed:.5f} expected in {info.precision}"
    return Check(name, difference <= allowed, figures)


def _differ(info: EngineInfo, got: Array, want: Array, centre: Array) -> float:
    """For fp32, the largest difference by the largest value; else 1 minus the least mean-centred cosine."""
    if _compares_values(info):
        return float(np.abs(got - want).max() / max(float(np.abs(want).max()), float(np.finfo(np.float32).tiny)))
    got, want, centre = (array.reshape(len(array), -1) for array in (got, want, centre[None]))
    return float(1 - centred_cosines(got, want, centre[0]).min())


def _is_unit(info: EngineInfo, rows: Array) -> bool:
    """True if embeddings have unit length: by the file, or else by their norms."""
    if info.normalized is not None:
        return info.normalized
    return bool(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3))

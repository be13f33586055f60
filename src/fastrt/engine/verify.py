"""Compare an engine on drawn images with the reference, which computes the same network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from fastrt.arrays import Array, Image
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.checks import Check, Report
from fastrt.engine.int8_checks import check_int8, check_similarity
from fastrt.engine.load import open_runner
from fastrt.engine.measures import COSINE, compares_values, differ, embed_reference, is_unit_length, to_pixels
from fastrt.engine.session import Session
from fastrt.errors import CalibrationError, EngineError
from fastrt.images.drawing import draw_person
from fastrt.ir.network import Network, Tensor
from fastrt.passes import simplify
from fastrt.passes.half import compute_in_half
from fastrt.signatures import checked
from fastrt.similarity import nearest_agreement, normalize_rows, rank_agreement
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference import HalfSumsReference, Reference, RoundingReference

TOLERANCE = 1e-4
"""Tolerance for fp32: the largest difference, divided by the largest absolute value of the reference: ADR 1.

ADRs are in docs/explanation/decisions."""

ROUNDING = 3.0
"""Tolerance for networks that amplify rounding, as a multiple of the reference's own error in the same precision.

That error predicts the errors of FastReID and of engines within a factor of 2: ADR 1, and ADR 7 for FP16."""

ROUNDED_LIKE = {"tf32": "float16", "fp16": "float16", "bf16": "bfloat16"}
"""The type in which the reference emulates a precision; tf32 has as many mantissa bits as float16."""

SUMS_IN_HALF = {("tensorrt", "fp16"), ("tensorrt-rtx", "fp16")}
"""Targets and precisions whose convolutions and linear layers accumulate in FP16: ADR 9."""

IMAGES = 4
RANKED_IMAGES = 8
"""Numbers of drawn images: by default, and for int8, where ranks are compared too."""

FEWEST_RANKED = 3
"""Smallest number of images whose neighbours have an order."""


@checked(EngineError)
@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # checked instead
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
        EngineError: an argument of another type; or the engine's input or output shapes differ from the network's, so
            nothing can be compared.
        CalibrationError: the table belongs to another network, or the engine is not in int8.
    """
    info = session.info
    if table is not None and info.precision != "int8":
        raise CalibrationError(
            f"engine: precision {info.precision} and a calibration table; expected one for int8 only. Leave it out."
        )
    batch = _prepare_images(session, network, images)
    pixels = to_pixels(batch)
    got = _run(session, batch)
    is_unit = is_unit_length(info, got)
    want = embed_reference(Reference(pixels), network, is_unit)
    noise = 0.0
    for tensor, value in _rounded(network, pixels, info):
        if tensor.name == network.output.name:
            noise = differ(info, normalize_rows(value) if is_unit else value, want, want.mean(0))
    checks = [
        _check_fingerprint(info, network),
        check_similarity(info, got, want)
        if info.precision == "int8"
        else _check("values", info, got, want, want.mean(0), noise),
        _check_places(session, batch, got, noise),
    ]
    if info.precision == "int8":
        checks.append(_compare_ranks(got, want))
    if table is not None:
        checks.append(check_int8(info, network, table, batch[:IMAGES], got[:IMAGES]))
    return Report(tuple(checks))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
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
    pixels = to_pixels(batch)
    near = {tensor.name: value for tensor, value in _rounded(network, pixels, runner.info)}
    checks: list[Check] = []
    for tensor, want in Reference(pixels).lower(network):
        name = tensor.name if tensor is not network.output or not runner.info.normalized else raw
        got = values.get(name)
        if got is None or got.shape != want.shape or tensor is network.input:
            continue
        noise = differ(runner.info, near[tensor.name], want, want.mean(0)) if tensor.name in near else 0.0
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
        return np.stack(draw_checked(network, RANKED_IMAGES if info.precision == "int8" else IMAGES))
    if len(images) < 2:
        raise EngineError(f"images: {len(images)}; expected at least 2 to verify with. Give more.")
    batch = session.resize(images)
    if not compares_values(info) and (batch == batch[0]).all():
        raise EngineError(
            f"images: {len(batch)} equal ones at {size[0]}x{size[1]}; expected different ones, as {info.precision} is"
            " compared after the mean embedding is subtracted. Give other images."
        )
    return batch


def draw_checked(network: Network, count: int = RANKED_IMAGES) -> list[Image]:
    """Draw the images that `verify` uses by default: ``(H, W, 3)`` uint8 BGR of people, two of each."""
    return [draw_person(i // 2, i % 2, *network.input.shape[1:]) for i in range(count)]


def _run(session: Session, batch: Array) -> Array:
    """Compute the embeddings of a batch, finite or not."""
    starts = range(0, len(batch), session.batch)
    return np.concatenate(list(session.embed_batches(batch[start : start + session.batch] for start in starts)))


def _rounded(network: Network, pixels: Array, info: EngineInfo) -> Iterator[tuple[Tensor, Array]]:
    """Run the reference with the rounding that the engine's precision causes in any runtime.

    Empty for int8, because the check is about the similarity to fp32.
    """
    if info.precision == "int8":
        return iter(())
    if compares_values(info):
        return Reference(pixels, np.float32).lower(network)
    half = compute_in_half(simplify(network), ROUNDED_LIKE[str(info.precision)])
    sums_in_half = (info.target, info.precision) in SUMS_IN_HALF
    return (HalfSumsReference if sums_in_half else RoundingReference)(pixels).lower(half)


def _check_fingerprint(info: EngineInfo, network: Network) -> Check:
    if info.fingerprint is None:
        return Check("fingerprint", True, "not compared: the file has no fingerprint")
    same = info.fingerprint == network.fingerprint()
    figures = "built from this network" if same else "built from another checkpoint, config or version of fastrt"
    return Check("fingerprint", same, figures)


def _compare_ranks(got: Array, want: Array) -> Check:
    if len(got) < FEWEST_RANKED:
        return Check("ranks", True, f"not compared: {len(got)} images; {FEWEST_RANKED} or more have an order")
    same, tau = nearest_agreement(got, want), rank_agreement(got, want)
    figures = f"same image nearest {same:.0%}, Kendall's tau of neighbours {tau:.3f}, of {len(got)} images"
    return Check("ranks", True, figures)


def _check_places(session: Session, batch: Array, got: Array, noise: float) -> Check:
    """Check that the last image gives the same embedding at every place of every batch size that was tuned for."""
    sizes = sorted({1, session.batch, *(size for size in session.info.batches or () if size <= session.batch)})
    rows = np.concatenate([_run(session, np.repeat(batch[-1:], size, axis=0)) for size in sizes])
    return _check("places", session.info, rows, np.repeat(got[-1:], len(rows), axis=0), got.mean(0), noise)


def _check(name: str, info: EngineInfo, got: Array, want: Array, centre: Array, noise: float) -> Check:
    """Check that ``got`` equals ``want`` within the precision's tolerance; ``noise`` is the error by rounding alone."""
    if not np.isfinite(got).all():
        return Check(name, False, "has NaN or infinity")
    noise = noise if np.isfinite(noise) else 0.0  # else an overflow of the reference would allow everything
    difference = differ(info, got, want, centre)
    if compares_values(info):
        allowed = max(TOLERANCE, ROUNDING * noise)
        figures = f"differ by {difference:.1e} of the largest value, {allowed:.1e} allowed"
    else:
        least = COSINE[str(info.precision)] if info.min_similarity is None else info.min_similarity
        allowed = max(1 - least, ROUNDING * noise)
        figures = f"mean-centred cosine {1 - difference:.5f}, at least {1 - allowed:.5f} expected in {info.precision}"
    return Check(name, difference <= allowed, figures)

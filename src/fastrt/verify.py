"""Is an engine what its network says? Measured against the reference, on drawn pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array, Image
from fastrt.drawing import draw_person
from fastrt.engine_info import EngineInfo
from fastrt.errors import EngineError
from fastrt.network import Network
from fastrt.session import Session
from fastrt.targets.base import Runner
from fastrt.targets.reference import Reference

TOLERANCE = 1e-4
"""Of fp32: the largest difference, divided by the largest absolute value of the reference."""

ROUNDING = 3.0
"""Of fp32, for networks that amplify rounding: times what float32 instead of float64 does to the reference itself."""

COSINE = {"tf32": 0.9995, "fp16": 0.999, "bf16": 0.99}
"""Below fp32: the least cosine between embeddings from which the reference's mean embedding is subtracted.

Raw cosines hide breakage, as all embeddings of a network point in much the same direction."""

PICTURES = 4


@dataclass(frozen=True)
class Check:
    """One thing that was measured: its name, whether it passed, and the figures in words."""

    name: str
    passed: bool
    figures: str


@dataclass(frozen=True)
class Report:
    """What `verify` found; true when every check passed, and ``print(report)`` shows the figures."""

    checks: tuple[Check, ...]

    def __bool__(self) -> bool:
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = [
            f"{check.name:<{width}}  {'ok  ' if check.passed else 'FAIL'}  {check.figures}" for check in self.checks
        ]
        return "\n".join([*lines, "verified" if self else "not verified"])


def verify(session: Session, network: Network, images: Sequence[Image] | None = None) -> Report:
    """Measure an engine against the network it is said to be.

    Three checks: that its fingerprint is the network's; that its embeddings are the reference's, as near as the
    precision allows; and that an image's embedding depends neither on the batch nor on its place in it.

    Args:
        session: the engine.
        network: what `fastrt.build_network` makes of the checkpoint.
        images: ``(h, w, 3)`` uint8 BGR arrays, at least 2; drawn ones if None.

    Raises:
        EngineError: the engine takes or gives other shapes than the network, so nothing can be compared.
    """
    info = session.info
    batch = _pictures(session, network, images)
    got = session(batch)
    want, noise = _reference(network, batch), None
    normalized = info.normalized if info.normalized is not None else _is_unit(got)
    if normalized:
        want = _unit(want)
    if _compares_values(info):
        rounded = _reference(network, batch, np.float32)
        noise = _distance(_unit(rounded) if normalized else rounded, want)
    return Report(
        (
            _check_fingerprint(info, network),
            _check_values(info, got, want, noise),
            _check_places(session, batch, got, noise),
        )
    )


def verify_layers(runner: Runner, network: Network, images: Sequence[Image] | None = None) -> Report:
    """Compare an engine's tensors with the reference's of the same names, up to the first that disagrees.

    Tensors that the engine does not have, as it fused or renamed them, are passed over.

    Args:
        runner: the engine, opened with taps; it is closed afterwards.
        network: what `fastrt.build_network` makes of the checkpoint.
        images: as for `verify`.

    Raises:
        EngineError: as `verify`.
    """
    with Session(runner) as session:
        batch = _pictures(session, network, images)[:2]
        taps = runner.run_tapped(session.prepare(batch))
    pixels = _pixels(batch)
    checks: list[Check] = []
    reference, rounded = Reference(pixels).lower(network), Reference(pixels, np.float32).lower(network)
    for (tensor, want), (_, near) in zip(reference, rounded, strict=True):
        name = tensor.name if tensor is not network.output or not runner.info.normalized else f"{tensor.name}.raw"
        got = taps.get(name)
        if got is None or got.shape != want.shape or tensor is network.input:
            continue
        checks.append(_check_tensor(tensor.name, runner.info, got, want, near))
        if not checks[-1].passed:
            break
    if not checks:
        raise EngineError("the engine has no tensor of the network's names, so its layers cannot be compared")
    return Report(tuple(checks))


def _pictures(session: Session, network: Network, images: Sequence[Image] | None) -> Array:
    """A batch at the engine's size, if the network's is the same: ``(n, H, W, 3)`` uint8 BGR."""
    info = session.info
    size, dimension = network.input.shape[1:], network.output.shape[0]
    if info.image_size != size or info.embedding_dim != dimension:
        raise EngineError(
            f"the engine takes {info.image_size} images to {info.embedding_dim} numbers,"
            f" the network {size} to {dimension}; verify an engine with its own checkpoint and config"
        )
    if images is None:
        images = [draw_person(identity, 0, *size) for identity in range(PICTURES)]
    if len(images) < 2:
        raise EngineError(f"{len(images)} image is too few to verify with; give at least 2")
    return session.resize(images)


def _pixels(batch: Array) -> Array:
    return batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


def _reference(network: Network, batch: Array, dtype: type[np.floating] = np.float64) -> Array:
    *_, (_, embeddings) = Reference(_pixels(batch), dtype).lower(network)
    return embeddings


def _compares_values(info: EngineInfo) -> bool:
    return info.precision not in COSINE


def _check_fingerprint(info: EngineInfo, network: Network) -> Check:
    if info.fingerprint is None:
        return Check("fingerprint", True, "the file does not say what it was built from")
    same = info.fingerprint == network.fingerprint()
    figures = "built from this network" if same else "built from another checkpoint, config or version of fastrt"
    return Check("fingerprint", same, figures)


def _check_values(info: EngineInfo, got: Array, want: Array, noise: float | None) -> Check:
    if not np.isfinite(got).all():
        return Check("values", False, "embeddings have NaN or infinity")
    if noise is None:
        return _check_cosine("values", str(info.precision), got, want, want.mean(0))
    return _check_distance("values", _distance(got, want), noise)


def _check_places(session: Session, batch: Array, got: Array, noise: float | None) -> Check:
    """The last image must give what it gave among others, in every place of every size of batch that was tuned for."""
    sizes = sorted({1, session.batch, *(size for size in session.info.batches or () if size <= session.batch)})
    rows = np.concatenate([session(np.repeat(batch[-1:], size, axis=0)) for size in sizes])
    want = np.repeat(got[-1:], len(rows), axis=0)
    if noise is None:
        return _check_cosine("places", str(session.info.precision), rows, want, got.mean(0))
    return _check_distance("places", _distance(rows, want), noise)


def _check_tensor(name: str, info: EngineInfo, got: Array, want: Array, near: Array) -> Check:
    if not np.isfinite(got).all():
        return Check(name, False, "has NaN or infinity")
    if _compares_values(info):
        return _check_distance(name, _distance(got, want), _distance(near, want))
    got, want = (rows.reshape(len(rows), -1) for rows in (got, want))
    return _check_cosine(name, str(info.precision), got, want, want.mean(0))


def _check_distance(name: str, difference: float, noise: float) -> Check:
    allowed = max(TOLERANCE, ROUNDING * noise)
    return Check(name, difference <= allowed, f"differ by {difference:.1e} of the largest value, {allowed:.1e} allowed")


def _check_cosine(name: str, precision: str, got: Array, want: Array, centre: Array) -> Check:
    cosine = float((_unit(got - centre) * _unit(want - centre)).sum(1).min())
    wanted = COSINE[precision]
    return Check(name, cosine >= wanted, f"mean-centred cosine {cosine:.5f}, at least {wanted} wanted in {precision}")


def _distance(got: Array, want: Array) -> float:
    return float(np.abs(got - want).max() / max(float(np.abs(want).max()), float(np.finfo(np.float32).tiny)))


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _is_unit(rows: Array) -> bool:
    return bool(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3))

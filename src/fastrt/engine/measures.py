"""Differences between an engine's embeddings and the reference's."""

from __future__ import annotations

import numpy as np

from fastrt.arrays import Array
from fastrt.ir.network import Network
from fastrt.similarity import centred_cosines, normalize_rows
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference import Reference

COSINE = {"tf32": 0.9995, "fp16": 0.999, "bf16": 0.99, "int8": 0.97}
"""Tolerance below fp32: the least mean-centred cosine, with the reference's mean embedding subtracted from both.

Raw cosines hide errors, because all embeddings of a network point in a similar direction. fp16: a trained network
passes on TensorRT 8.6 (ADR 9). int8: ADR 8. tf32 and bf16 were not measured: tf32 has the mantissa of fp16, but a wider
exponent, and bf16 has 3 bits less."""


def to_pixels(batch: Array) -> Array:
    """Convert a batch to the network's input: ``(n, 3, H, W)`` float32 RGB, 0 to 255."""
    return batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


def embed_reference(reference: Reference, network: Network, is_unit: bool) -> Array:
    """Compute a network's embeddings by the reference; of unit length if the engine's are."""
    *_, (_, rows) = reference.lower(network)
    return normalize_rows(rows) if is_unit else rows


def compares_values(info: EngineInfo) -> bool:
    """Return True if values are compared, not cosines: in fp32."""
    return info.precision not in COSINE


def differ(info: EngineInfo, got: Array, want: Array, centre: Array) -> float:
    """For fp32, the largest difference by the largest value; else 1 minus the least mean-centred cosine."""
    if compares_values(info):
        return float(np.abs(got - want).max() / max(float(np.abs(want).max()), float(np.finfo(np.float32).tiny)))
    got, want, centre = (array.reshape(len(array), -1) for array in (got, want, centre[None]))
    return float(1 - centred_cosines(got, want, centre[0]).min())


def is_unit_length(info: EngineInfo, rows: Array) -> bool:
    """True if embeddings have unit length: by the file, or else by their norms."""
    if info.normalized is not None:
        return info.normalized
    return bool(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3))

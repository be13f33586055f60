"""Check that embeddings are finite numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastrt.arrays import Embeddings
from fastrt.engine.session import Session
from fastrt.errors import EngineError
from fastrt.images.drawing import draw_person
from fastrt.ir.network import Network
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.reference import Reference

IMAGES = 2
LENGTH_TOLERANCE = 0.05
"""Largest difference of an embedding's length from 1. FP16 rounds by less than 0.001; an overflow gives length 0."""


def embed_drawn(session: Session) -> Embeddings:
    """Compute the embeddings of drawn images, finite or not."""
    size = session.info.image_size
    return np.concatenate(list(session.embed_batches(draw_person(i, 0, *size)[None] for i in range(IMAGES))))


def embed_in_float32(network: Network, info: EngineInfo) -> Embeddings:
    """Compute the same embeddings in NumPy, for an engine that cannot run on this host."""
    batch = np.stack([draw_person(i, 0, *info.image_size) for i in range(IMAGES)])
    pixels = batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    with np.errstate(all="ignore"):
        *_, (_, rows) = Reference(pixels, np.float32).lower(network)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True) if info.normalized else rows, np.float32)


def check_embeddings(path: Path, info: EngineInfo, rows: Embeddings) -> None:
    """Raise `EngineError` unless embeddings ``(n, D)`` of drawn images are finite and, if normalized, of length 1."""
    found, lengths = None, np.linalg.norm(rows.astype(np.float64), axis=1)
    if not np.isfinite(rows).all():
        found = "have NaN or infinity"
    elif info.normalized and np.abs(lengths - 1).max() > LENGTH_TOLERANCE:
        found = f"have length {lengths.min():.3g}, because a sum overflowed or all values are 0"
    if found is not None:
        raise EngineError(
            f"{path}: in {info.precision} the embeddings of drawn images {found}; expected finite values. No file is"
            " written: check the weights and the config, or build a wider precision."
        )

"""A re-identification model: pixels, standardise, backbone, head.

Source: fastreid/modeling/meta_arch/baseline.py, modeling/heads/embedding_head.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import INPUT, OUTPUT, Network, Tensor
from fastrt.ir.ops import LeakyRelu, Reshape, ScaleShift
from fastrt.ir.parameters import Parameters
from fastrt.models.backbones.resnet import build_backbone
from fastrt.models.layers import (
    average_max_pool,
    average_pool,
    batch_norm,
    clip_average_pool,
    convolve,
    flatten,
    generalized_mean_pool,
    keep,
    learnt_generalized_mean_pool,
    max_pool,
)
from fastrt.models.spec import ModelSpec
from fastrt.models.versions import is_unused, migrate

logger = logging.getLogger("fastrt")

POOLS: dict[str, Callable[[Builder, Tensor, str], Tensor]] = {
    "Identity": keep,
    "Flatten": flatten,
    "GlobalAvgPool": average_pool,
    "FastGlobalAvgPool": average_pool,
    "GlobalMaxPool": max_pool,
    "GeneralizedMeanPooling": generalized_mean_pool,
    "GeneralizedMeanPoolingP": learnt_generalized_mean_pool,
    "AdaptiveAvgMaxPool": average_max_pool,
    "ClipGlobalAvgPool": clip_average_pool,
}


def build_network(spec: ModelSpec, weights: Mapping[str, Array]) -> Network:
    """The network of a model, as FastReID computes it at inference.

    It takes ``images``, ``(3, H, W)`` float32 RGB pixels from 0 to 255, and gives ``embedding``, ``(D,)`` float32, not
    normalised. What the checkpoint's names decided stands in the network's ``notes`` and is logged.

    Args:
        spec: the model; what it leaves open, the checkpoint decides.
        weights: FastReID's arrays of any era, by name.

    Raises:
        WeightsError: arrays are missing, unexpected, misshapen or not finite; all are listed.
        NetworkError: the image size is too small for the backbone.
    """
    migration = migrate(spec, weights)
    for note in migration.notes:
        logger.warning(note)
    spec = migration.spec
    flat = all(array.ndim <= 1 for array in weights.values())  # of a .wts, which keeps no shapes
    return assemble(Builder(Parameters(migration.arrays, spec.title, flat, is_unused)), spec, migration.notes)


def assemble(b: Builder, spec: ModelSpec, notes: tuple[str, ...] = ()) -> Network:
    """The network of a spec that leaves nothing open, of the builder's arrays. Raises as `build_network`."""
    x = b.input(INPUT, (3, *spec.image_size))
    x = b.add("images.standardised", standardise(spec.pixel_mean, spec.pixel_std), x)
    x = build_backbone(b, x, spec)
    x = _head(b, x, spec)
    b.add(OUTPUT, Reshape((x.shape[0],)), x)
    return b.network(spec.model_dump(mode="json"), notes)


def standardise(mean: tuple[float, ...], std: tuple[float, ...]) -> ScaleShift:
    """``(pixel - mean) / std`` a channel, as a scale and a shift."""
    # FastReID holds both as float32; deep networks make 1e-4 of the difference between 123.675 and its float32.
    mean_held, std_held = (np.asarray(values, np.float32).astype(np.float64) for values in (mean, std))
    scale = 1.0 / std_held
    return ScaleShift(scale, -mean_held * scale)


def _head(b: Builder, x: Tensor, spec: ModelSpec) -> Tensor:
    x = POOLS[spec.pool_layer](b, x, "heads.pool_layer")
    index = 0
    if spec.embedding_dim:
        x = convolve(b, x, "heads.bottleneck.0", spec.embedding_dim, 1)
        index = 1
    if spec.with_bnneck:
        x = batch_norm(b, x, f"heads.bottleneck.{index}")
    if spec.head == "ReductionHead":
        x = b.add("heads.bottleneck.2", LeakyRelu(0.1), x)
        x = batch_norm(b, x, "heads.bnneck")
    return x

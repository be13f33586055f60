"""A re-identification model: pixels, standardisation, meta-architecture.

Source: fastreid/modeling/meta_arch, fastreid/modeling/heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import NetworkError, SpecError
from fastrt.ir.builder import Builder
from fastrt.ir.network import INPUT, OUTPUT, Network
from fastrt.ir.ops import Reshape, ScaleShift
from fastrt.ir.parameters import Parameters
from fastrt.models.heads import Head
from fastrt.models.meta_architectures.table import META_ARCHITECTURES
from fastrt.models.spec import ModelSpec
from fastrt.models.versions import is_unused, migrate
from fastrt.signatures import checked
from fastrt.weights import check_arrays

MOST_BYTES = 1 << 28
"""Largest tensor per image in float32, as of a ResNet-50 at 2048x2048. Runtimes hold several at a time."""


@checked(SpecError, "spec")
def build_network(spec: ModelSpec, weights: Mapping[str, Array]) -> Network:
    """Build the network of a model, as FastReID computes it at inference.

    Its input is ``images``, ``(3, H, W)`` float32 RGB pixels from 0 to 255. Its output is ``embedding``, ``(D,)``
    float32, not normalised. Settings inferred from the checkpoint's names are logged as warnings.

    Args:
        spec: the model; open settings are inferred from the checkpoint.
        weights: FastReID's arrays by name, of any checkpoint version.

    Raises:
        WeightsError: arrays are missing, unexpected, misshapen or not finite; all are listed. Or the value of a name is
            not a NumPy array of numbers.
        SpecError: ``spec`` is no `ModelSpec`.
        NetworkError: the image size is too small for the backbone, or too large for the memory.
    """
    check_arrays(weights)
    spec, arrays = migrate(spec, weights)
    flat = all(array.ndim <= 1 for array in weights.values())  # from a .wts, which stores no shapes
    return assemble(Builder(Parameters(arrays, spec.title, flat, is_unused)), spec)


def assemble(b: Builder, spec: ModelSpec) -> Network:
    """Build the network of a spec without open settings, from the builder's arrays. Raises as `build_network`."""
    x = b.input(INPUT, (3, *spec.image_size))
    x = b.add("images.standardised", standardise(spec.pixel_mean, spec.pixel_std), x)
    head = Head(spec.head, spec.pool_layer, spec.embedding_dim, bool(spec.with_bnneck))
    x = META_ARCHITECTURES[spec.meta_architecture].build(b, x, spec.backbone, head)
    b.add(OUTPUT, Reshape((x.shape[0],)), x)
    network = b.network(spec.model_dump(mode="json"))
    largest = max(network, key=lambda tensor: math.prod(tensor.shape))
    if (size := math.prod(largest.shape) * 4) > MOST_BYTES:
        raise NetworkError(
            f"image size {spec.image_size}: {largest.name} takes {size / 1e6:.0f} MB per image; expected at most"
            f" {MOST_BYTES / 1e6:.0f} MB. Reduce INPUT.SIZE_TEST."
        )
    return network


def standardise(mean: tuple[float, ...], std: tuple[float, ...]) -> ScaleShift:
    """Make the per-channel scale and shift for ``(pixel - mean) / std``."""
    # FastReID stores both as float32; deep networks amplify the difference of 123.675 to its float32 to 1e-4.
    mean32, std32 = (np.asarray(values, np.float32).astype(np.float64) for values in (mean, std))
    scale = 1.0 / std32
    return ScaleShift(scale, -mean32 * scale)

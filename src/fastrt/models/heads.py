"""Heads and poolings: layers from a feature map ``(C, h, w)`` to an embedding ``(D, 1, 1)``.

Source: fastreid/modeling/heads/embedding_head.py, fastreid/layers/pooling.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastrt.errors import SpecError
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, Clamp, Convolution, Power, ReduceMax, ReduceMean, Reshape, Slice
from fastrt.models.activations import leaky_relu, relu
from fastrt.models.layers import batch_norm, convolve

logger = logging.getLogger("fastrt")

LEAST_EXPONENT = 0.1
"""Least exponent p of GeM. The relative error in float32 is about 1e-7/p: 1e-6, 100 times below the tolerance of fp32
engines, as the batch norm that follows may amplify it 10 times. With a negative p, the pixels nearest to 0 decide, and
so their rounding does; below -6 their powers overflow, and each feature becomes 0."""

HIGHEST_EXPONENT = 100
"""Highest p: beyond, float32 holds only the powers of features between 0.42 and 2.4."""

USUAL_EXPONENT = 10
"""Up to this p, the powers of features above 2e-4 do not underflow float32."""


def average_pool(b: Builder, x: Tensor, name: str) -> Tensor:
    """GlobalAvgPool and FastGlobalAvgPool: the mean over the pixels."""
    return b.add(name, ReduceMean(), x)


def max_pool(b: Builder, x: Tensor, name: str) -> Tensor:
    """GlobalMaxPool: the maximum over the pixels."""
    return b.add(name, ReduceMax(), x)


def average_max_pool(b: Builder, x: Tensor, name: str) -> Tensor:
    """AdaptiveAvgMaxPool: mean plus maximum."""
    return b.add(name, Add(), b.add(f"{name}.gap", ReduceMean(), x), b.add(f"{name}.gmp", ReduceMax(), x))


def clip_average_pool(b: Builder, x: Tensor, name: str) -> Tensor:
    """ClipGlobalAvgPool: the mean over the pixels, clipped to 0 to 1."""
    return b.add(name, Clamp(0.0, 1.0), b.add(f"{name}.avgpool", ReduceMean(), x))


def generalized_mean_pool(b: Builder, x: Tensor, name: str, p: float = 3.0) -> Tensor:
    """GeneralizedMeanPooling: ``mean(max(x, 1e-6) ** p) ** (1 / p)``."""
    clamped = b.add(f"{name}.clamp", Clamp(low=1e-6), x, exact=True)
    powered = b.add(f"{name}.power", Power(p), clamped, exact=True)
    return b.add(name, Power(1.0 / p), b.add(f"{name}.mean", ReduceMean(), powered))


def learned_generalized_mean_pool(b: Builder, x: Tensor, name: str) -> Tensor:
    """GeneralizedMeanPoolingP: the same with a learned exponent, ``name.p``.

    Exponents with which float32 fails are recorded as unusable. Above `USUAL_EXPONENT`, a warning states its range.
    """
    p = float(b.take(f"{name}.p", (1,))[0])
    if not LEAST_EXPONENT <= p <= HIGHEST_EXPONENT:  # zeros and NaN stand for arrays with other problems
        b.parameters.refuse(
            f"{name}.p",
            f"is {p:.3g}, expected an exponent of {LEAST_EXPONENT} to {HIGHEST_EXPONENT}, as float32 loses the features"
            f" beyond; trained exponents are 1 to {USUAL_EXPONENT}",
        )
        p = 3.0
    elif p > USUAL_EXPONENT:
        limits = np.finfo(np.float32)
        logger.warning(
            "%s.p: %.3g; trained exponents are 1 to %g. In float32 the powers of features below %.2g are 0, and those"
            " above %.2g overflow",
            name,
            p,
            USUAL_EXPONENT,
            float(limits.tiny) ** (1 / p),
            float(limits.max) ** (1 / p),
        )
    return generalized_mean_pool(b, x, name, p)


def flatten(b: Builder, x: Tensor, name: str) -> Tensor:
    """Flatten: all pixels of all channels, channels first."""
    return b.add(name, Reshape((int(np.prod(x.shape)), 1, 1)), x)


def take_first_pixel(b: Builder, x: Tensor, name: str) -> Tensor:
    """Identity: no pooling; FastReID's head returns the top left pixel of the feature map."""
    for axis in (1, 2):
        if x.shape[axis] > 1:
            x = b.add(f"{name}.{'rows' if axis == 1 else 'columns'}", Slice(axis, 0, 1), x)
    return x


POOLS: dict[str, Callable[[Builder, Tensor, str], Tensor]] = {
    "Identity": take_first_pixel,
    "Flatten": flatten,
    "GlobalAvgPool": average_pool,
    "FastGlobalAvgPool": average_pool,
    "GlobalMaxPool": max_pool,
    "GeneralizedMeanPooling": generalized_mean_pool,
    "GeneralizedMeanPoolingP": learned_generalized_mean_pool,
    "AdaptiveAvgMaxPool": average_max_pool,
    "ClipGlobalAvgPool": clip_average_pool,
}
"""Poolings by FastReID's ``POOL_LAYER``; each takes the builder, the feature map and its name."""


@dataclass(frozen=True)
class Head:
    """A head's settings; see `fastrt.ModelSpec`."""

    name: str
    pool_layer: str
    embedding_dim: int
    with_bnneck: bool

    def build(self, b: Builder, x: Tensor, prefix: str = "heads") -> Tensor:
        """Build the embedding ``(D, 1, 1)`` of a feature map, from the arrays under ``prefix``."""
        return HEADS[self.name](b, x, prefix, self)


def build_embedding_head(b: Builder, x: Tensor, name: str, head: Head) -> Tensor:
    """EmbeddingHead: pooling, then an optional reducing convolution and an optional batch norm."""
    x = POOLS[head.pool_layer](b, x, f"{name}.pool_layer")
    if head.embedding_dim:
        x = convolve(b, x, f"{name}.bottleneck.0", head.embedding_dim, 1)
    return batch_norm(b, x, f"{name}.bottleneck.{1 if head.embedding_dim else 0}") if head.with_bnneck else x


def build_reduction_head(b: Builder, x: Tensor, name: str, head: Head) -> Tensor:
    """ReductionHead, until 2020-08-20: EmbeddingHead, then a leaky ReLU and another batch norm."""
    x = leaky_relu(b, build_embedding_head(b, x, name, head), f"{name}.bottleneck.2", 0.1)
    return batch_norm(b, x, f"{name}.bnneck")


def build_mgn_head(b: Builder, x: Tensor, name: str, head: Head) -> Tensor:
    """MGNHead, of MGN until 2020-09-01: EmbeddingHead, then a ReLU and another batch norm."""
    x = relu(b, build_embedding_head(b, x, name, head), f"{name}.bottleneck.2")
    return batch_norm(b, x, f"{name}.bnneck")


def build_torchreid_head(b: Builder, x: Tensor, name: str, head: Head) -> Tensor:
    """The end of torchreid's OSNet: pooling, a linear layer, a batch norm and a ReLU; its names have no prefix.

    Source: torchreid/models/osnet.py, OSNet.forward.
    """
    if head.with_bnneck or POOLS[head.pool_layer] is not average_pool:
        raise SpecError(
            f"TorchreidHead: pool_layer {head.pool_layer}, with_bnneck {head.with_bnneck}; expected GlobalAvgPool and"
            " False, as torchreid's head has no others. Leave the keys out."
        )
    x = average_pool(b, x, f"{name}.pool_layer")
    weight = b.take("fc.0.weight", (head.embedding_dim, x.shape[0]))[:, :, None, None]
    x = b.add("fc.0", Convolution(weight, b.take("fc.0.bias", weight.shape[:1])), x)
    return relu(b, batch_norm(b, x, "fc.1"), "fc.2")


HEADS: dict[str, Callable[[Builder, Tensor, str, Head], Tensor]] = {
    "EmbeddingHead": build_embedding_head,
    "BNneckHead": build_embedding_head,
    "LinearHead": build_embedding_head,
    "ReductionHead": build_reduction_head,
    "MGNHead": build_mgn_head,
    "TorchreidHead": build_torchreid_head,
}
"""Heads by FastReID's ``MODEL.HEADS.NAME``, the next four from before 2020-09-10; the last is torchreid's.

MGNHead is fastrt's own name.
"""

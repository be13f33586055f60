"""The passes: plain functions from network to network, and their order, in `simplify` and `prepare`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fastrt.ir.network import Network
from fastrt.passes.branches import merge_branches
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half, shrink_products
from fastrt.passes.non_local import join_single_channels
from fastrt.passes.outside import normalize_embedding, take_bytes
from fastrt.passes.slices import split_before_slices

HALVES = {"fp16": "float16", "bf16": "bfloat16", "int8": "float16"}
"""The 16-bit dtype of each precision; for int8, the dtype of the tensors that are not int8."""


class EngineTraits(Protocol):
    """The part of an engine's description that determines its network; see `EngineInfo`."""

    @property
    def io(self) -> str:
        """The input profile."""

    @property
    def precision(self) -> str | None:
        """The engine's precision."""

    @property
    def normalized(self) -> bool | None:
        """True if the engine's embeddings have unit length."""


def simplify(network: Network) -> Network:
    """Return the network with all scales folded and branches merged: the tensors that int8 and every engine know."""
    return merge_branches(fold_scales(network))


def prepare(
    network: Network,
    info: EngineTraits,
    *,
    strongly_typed: bool = False,
    split: bool = False,
    quantized: Callable[[Network], Network] | None = None,
) -> Network:
    """Return the network of an engine with this description.

    Args:
        network: the network from the topology.
        info: the engine's description.
        strongly_typed: write the precision into the network, as casts.
        split: use one convolution for each half of an IBN-a or of a split attention.
        quantized: converts the network to int8.
    """
    network = simplify(network)
    if quantized is not None:
        network = quantized(network)
    if split:
        network = split_before_slices(network)
    if info.io == "u8_nhwc_bgr":
        network = take_bytes(network)
    if info.normalized:
        network = normalize_embedding(network)
    if strongly_typed and info.precision in HALVES:
        network = compute_in_half(network, HALVES[info.precision])
    elif info.precision == "fp16":
        network = shrink_products(network)
    return join_single_channels(network)

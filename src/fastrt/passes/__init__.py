"""The passes: plain functions from network to network, and the one place that orders them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fastrt.ir.network import Network
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half, shrink_products
from fastrt.passes.instance_norm import split_before_slices
from fastrt.passes.non_local import join_single_channels
from fastrt.passes.outside import normalize_embedding, take_bytes

HALVES = {"fp16": "float16", "bf16": "bfloat16", "int8": "float16"}
"""The half that a precision computes in; for int8, what is not in eight bits."""


class EngineTraits(Protocol):
    """The part of an engine's description that decides what its network looks like; see `EngineInfo`."""

    @property
    def io(self) -> str:
        """The input profile."""

    @property
    def precision(self) -> str | None:
        """What the engine computes in."""

    @property
    def normalized(self) -> bool | None:
        """Whether embeddings leave the engine with unit length."""


def prepare(
    network: Network,
    info: EngineTraits,
    *,
    typed: bool = False,
    split: bool = False,
    quantized: Callable[[Network], Network] | None = None,
) -> Network:
    """The network that an engine of this description holds.

    Args:
        network: as it was described.
        info: of the engine.
        typed: write its precision into it.
        split: have a convolution for each half of an IBN-a.
        quantized: brings it to eight bits.
    """
    network = fold_scales(network)
    if quantized is not None:
        network = quantized(network)
    if split:
        network = split_before_slices(network)
    if info.io == "u8_nhwc_bgr":
        network = take_bytes(network)
    if info.normalized:
        network = normalize_embedding(network)
    if typed and info.precision in HALVES:
        network = compute_in_half(network, HALVES[info.precision])
    elif info.precision == "fp16":
        network = shrink_products(network)
    return join_single_channels(network)

"""The passes: plain functions from network to network, and the one place that orders them."""

from __future__ import annotations

from fastrt.engine_info import EngineInfo
from fastrt.network import Network
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.passes.instance_norm import split_before_slices
from fastrt.passes.outside import normalize_embedding, take_bytes

FEW = 4
"""Images in a batch up to which one large convolution before IBN-a is faster than two small ones, on an H100."""

HALVES = {"fp16": "float16", "bf16": "bfloat16"}


def prepare(network: Network, info: EngineInfo, *, typed: bool = False) -> Network:
    """The network that an engine of this description holds; ``typed`` writes its precision into it."""
    network = fold_scales(network)
    if typed and max(info.batches or (1,)) > FEW:
        network = split_before_slices(network)
    if info.io == "u8_nhwc_bgr":
        network = take_bytes(network)
    if info.normalized:
        network = normalize_embedding(network)
    if typed and info.precision in HALVES:
        network = compute_in_half(network, HALVES[info.precision])
    return network

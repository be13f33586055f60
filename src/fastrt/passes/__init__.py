"""The passes: plain functions from network to network, and the one place that orders them."""

from __future__ import annotations

from fastrt.engine_info import EngineInfo
from fastrt.network import Network
from fastrt.passes.fold import fold_scales
from fastrt.passes.outside import normalize_embedding, take_bytes


def prepare(network: Network, info: EngineInfo) -> Network:
    """The network that an engine of this description holds."""
    network = fold_scales(network)
    if info.io == "u8_nhwc_bgr":
        network = take_bytes(network)
    if info.normalized:
        network = normalize_embedding(network)
    return network

"""The networks that speed is measured on: those of FastRT's own table, at its size, with drawn weights."""

from __future__ import annotations

import fastrt
from fastrt.network import Network
from fastrt.untrained import draw_weights

SIZE = [256, 128]
MODELS: dict[str, tuple[str | None, list[object]]] = {
    "R34": (None, ["MODEL.BACKBONE.DEPTH", "34x"]),
    "R34-distill": ("sbs_r34_distill", []),
    "R50-NL-IBN": ("sbs_R50-ibn", []),
}


def describe(title: str) -> Network:
    """A network of `MODELS`."""
    preset, overrides = MODELS[title]
    spec = fastrt.load_spec(preset, [*overrides, "INPUT.SIZE_TEST", SIZE])
    return fastrt.build_network(spec, draw_weights(spec))

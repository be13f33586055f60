"""The networks of the speed benchmarks, with random weights: those of FastRT's own table, and more."""

from __future__ import annotations

import fastrt
from fastrt.ir.network import Network
from fastrt.testing.untrained import draw_weights

SIZE = [256, 128]
"""Default ``(H, W)`` in pixels."""

MODELS: dict[str, tuple[str | None, list[object]]] = {
    "R34": (None, ["MODEL.BACKBONE.DEPTH", "34x"]),
    "R34-distill": ("sbs_r34_distill", []),
    "R50-NL-IBN": ("sbs_R50-ibn", []),
}
"""The networks of FastRT's table."""

MORE: dict[str, tuple[str | None, list[object]]] = {
    "R50-NL-IBN 384x128": ("sbs_R50-ibn", ["INPUT.SIZE_TEST", [384, 128]]),
    "R50": (None, []),
}
"""Networks of individual benchmarks."""

TITLES = [*MODELS, *MORE]
"""All networks, in the order of tables."""


def describe(title: str) -> Network:
    """Make a network of `TITLES`."""
    preset, overrides = {**MODELS, **MORE}[title]
    spec = fastrt.load_spec(preset, ["INPUT.SIZE_TEST", SIZE, *overrides])
    return fastrt.build_network(spec, draw_weights(spec))

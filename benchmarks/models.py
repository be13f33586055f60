"""The networks of the speed benchmarks: those of FastRT's own table, and more."""

from __future__ import annotations

import fastrt
from fastrt.demo.demonstrate import load_demo_model
from fastrt.testing.untrained import draw_weights

SIZE = [256, 128]
"""Default ``(H, W)`` in pixels."""

MODELS: dict[str, tuple[str | None, list[object]]] = {
    "R34": (None, ["MODEL.BACKBONE.DEPTH", "34x"]),
    "R34-distill": ("sbs_r34_distill", []),
    "R50-NL-IBN": ("sbs_R50-ibn", []),
}
"""The networks of FastRT's table, with random weights."""

TALL, PLAIN, TRAINED = "R50-NL-IBN 384x128", "R50", "R18-distill, trained"
MORE: dict[str, tuple[str | None, list[object]]] = {
    TALL: ("sbs_R50-ibn", ["INPUT.SIZE_TEST", [384, 128]]),
    PLAIN: (None, []),
}
"""Networks of individual benchmarks, with random weights."""

TITLES = [*MODELS, *MORE, TRAINED]
"""All networks, in the order of tables; the last is the demonstration's."""


def describe(title: str) -> fastrt.Network:
    """Make a network of `TITLES`."""
    if title == TRAINED:
        return load_demo_model().network()
    preset, overrides = {**MODELS, **MORE}[title]
    spec = fastrt.load_spec(preset, ["INPUT.SIZE_TEST", SIZE, *overrides])
    return fastrt.build_network(spec, draw_weights(spec))

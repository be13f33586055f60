"""The descriptions of some presets, as text: a change of a network shows as a change of its page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import fastrt
from presets import EXAMPLES
from shapes import make_shapes

FOLDER = Path(__file__).parent / "networks"


@pytest.mark.parametrize("name", [*EXAMPLES, "mgn_R50-ibn", "sbs_S50"])
def test_a_preset_describes_the_network_that_it_did(name: str) -> None:
    spec = fastrt.load_spec(name)
    text = f"{fastrt.build_network(spec, make_shapes(spec))}\n"
    page = FOLDER / f"{name}.txt"
    if os.environ.get("FASTRT_WRITE_NETWORKS"):
        page.write_text(text)
    assert text == page.read_text()

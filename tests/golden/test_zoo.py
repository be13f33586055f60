"""Embeddings of FastReID's other families and of torchreid's OSNet, computed by them, against every target."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastrt
from fastrt.targets.engine_info import Io
from fastrt.targets.reference import Reference
from golden.cases import ZOO, distance, load_zoo

TOLERANCE = 1e-4


@pytest.mark.parametrize("name", ZOO)
def test_every_target_gives_upstreams_embeddings(name: str, tmp_path: Path) -> None:
    """One test for all targets, as drawing the weights takes longer than building an engine."""
    case = load_zoo(name)
    *_, (_, exact) = Reference(case.planes[:1]).lower(case.network)
    assert distance(exact, case.embeddings[:1]) <= 2 * case.gap
    io: Io
    for suffix, io in ((".xml", "u8_nhwc_bgr"), (".onnx", "f32_nchw_rgb")):
        path = tmp_path / f"engine{suffix}"
        fastrt.build(case.network, path, normalize=False, io=io, check=False)
        with fastrt.load(path) as session:
            embeddings = session(case.images)
        assert distance(embeddings, case.embeddings) <= TOLERANCE, suffix

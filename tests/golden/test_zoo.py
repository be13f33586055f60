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
def test_the_reference_differs_by_the_rounding_of_the_case(name: str) -> None:
    case = load_zoo(name)
    *_, (_, embeddings) = Reference(case.planes[:1]).lower(case.network)
    assert distance(embeddings, case.embeddings[:1]) <= 2 * case.gap


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_engines_give_upstreams_embeddings(name: str, suffix: str, tmp_path: Path) -> None:
    case = load_zoo(name)
    path = tmp_path / f"engine{suffix}"
    io: Io = "f32_nchw_rgb" if suffix == ".onnx" else "u8_nhwc_bgr"
    fastrt.build(case.network, path, normalize=False, io=io)
    with fastrt.load(path) as session:
        embeddings = session(case.images)
    assert distance(embeddings, case.embeddings) <= TOLERANCE

"""TensorRT on a GPU: the golden cases of the other families, and of torchreid's OSNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import fastrt
from fastrt.passes import simplify
from fastrt.passes.half import compute_in_half
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.reference import RoundingReference
from golden.cases import ZOO, distance, load_zoo
from grid.cells import list_cells
from grid.test_grid import check_cell

pytestmark = pytest.mark.gpu

Record = Callable[[str, object], None]
SMALL = 0.0005
"""Largest loss of cosine that is allowed to every network, as in the other golden cases."""


@pytest.mark.parametrize(("family", "target", "precision"), list_cells("tensorrt"))
def test_a_cell_holds(family: str, target: str, precision: str, tmp_path: Path) -> None:
    check_cell(family, target, precision, tmp_path)


@pytest.mark.parametrize("name", ZOO)
def test_an_fp32_engine_gives_upstreams_embeddings(name: str, tmp_path: Path, record_property: Record) -> None:
    case = load_zoo(name)
    path = tmp_path / "zoo.engine"
    fastrt.build(case.network, path, normalize=False, options=BuildOptions(batches=(len(case.images),)), check=False)
    with fastrt.load(path) as session:
        off = distance(session(case.images), case.embeddings)
    record_property("difference", off)
    assert off <= 1e-3


@pytest.mark.parametrize("name", ZOO)
def test_an_fp16_engine_differs_by_half_rounding(name: str, tmp_path: Path, record_property: Record) -> None:
    case = load_zoo(name)
    path = tmp_path / "zoo.engine"
    options = BuildOptions(batches=(len(case.images),))
    fastrt.build(case.network, path, precision="fp16", normalize=False, options=options, check=False)
    with fastrt.load(path) as session:
        loss = 1 - float(centred_cosines(session(case.images), case.embeddings).min())
    record_property("loss", loss)
    if loss > SMALL:
        half = compute_in_half(simplify(case.network), "float16")
        *_, (_, rounded) = RoundingReference(case.planes).lower(half)
        allowed = 3 * (1 - float(centred_cosines(rounded, case.embeddings).min()))
        record_property("allowed", allowed)
        assert loss <= allowed

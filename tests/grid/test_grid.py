"""Every cell of README's table of models and targets: the engine is built, and computes the model's embeddings."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import fastrt
from fastrt.engine.int8_checks import DRAWS, INT8_ROUNDING
from fastrt.passes import HALVES
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Precision
from fastrt.targets.registry import find_target
from grid.cells import (
    IMAGES,
    compute_exact,
    compute_in_int8,
    format_table,
    list_cells,
    make_network,
    make_table,
    round_to_half,
)

README = Path(__file__).parents[2] / "README.md"
INT8_COSINE = 0.95
"""Least cosine to the int8 reference, unless random rounding alone moves that further: drawn weights amplify it."""

SMALL = {"fp16": 0.0005, "bf16": 0.01}
"""Loss of cosine that is allowed to every network; more, if rounding alone loses a third of that."""

BEGIN, END = "<!-- grid -->\n", "\n<!-- grid end -->"


def check_cell(family: str, target: str, precision: str, folder: Path) -> None:
    """Build an engine and compare it with the float64 reference, by the measure of its precision."""
    assert precision in get_args(Precision)
    network = make_network(family)
    chosen = find_target(target)
    path = folder / f"engine{chosen.suffix}"
    options = BuildOptions(batches=(len(IMAGES),) if chosen.batches else ())
    table = make_table(family) if precision == "int8" else None
    fastrt.build(
        network,
        path,
        precision=precision,  # type: ignore[arg-type]
        table=table,
        normalize=False,
        options=options,
        check=False,
    )
    if target == "tensorrt-rtx":
        return  # its plans do not run on this host
    with fastrt.load(path) as session:
        got = session(IMAGES)
    assert got.shape == (len(IMAGES), network.output.shape[0])
    want = compute_exact(family)
    if precision == "fp32":
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
    elif precision == "int8":
        want = compute_in_int8(family, target)
        loss = 1 - float(centred_cosines(got, want).min())
        if loss > 1 - INT8_COSINE:
            drawn = (compute_in_int8(family, target, seed) for seed in range(DRAWS))
            assert loss <= INT8_ROUNDING * max(1 - float(centred_cosines(rows, want).min()) for rows in drawn)
    else:
        rounded = round_to_half(family, HALVES[precision])
        loss, by_rounding = (1 - float(centred_cosines(rows, want).min()) for rows in (got, rounded))
        assert loss <= max(SMALL[precision], 3 * by_rounding)


@pytest.mark.grid
@pytest.mark.parametrize(("family", "target", "precision"), list_cells("openvino", "onnx"))
def test_a_cell_holds(family: str, target: str, precision: str, tmp_path: Path) -> None:
    if precision not in find_target(target).precisions():
        pytest.skip(f"{target} cannot compute in {precision} on this CPU")
    check_cell(family, target, precision, tmp_path)


@pytest.mark.grid
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize(("family", "target", "precision"), list_cells("tensorrt-rtx"))
def test_a_cell_is_built(family: str, target: str, precision: str, tmp_path: Path) -> None:
    check_cell(family, target, precision, tmp_path)


def test_readme_has_this_table() -> None:
    text = README.read_text("utf-8")
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    if os.environ.get("FASTRT_WRITE_GRID"):
        README.write_text(f"{before}{BEGIN}{format_table()}{END}{after}", "utf-8")
        return
    assert table == format_table()

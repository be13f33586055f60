"""Tables and images of int8: damaged tables, and images that cannot tell engines apart, are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrt
from conftest import Run, Small
from fastrt.engine.build import EngineConfig, write_engine
from fastrt.engine.calibration_table import read_table
from fastrt.images.drawing import draw_person

CROPS = [draw_person(i // 2, i % 2, 64, 32) for i in range(12)]


@pytest.fixture(scope="module")
def table(small: Small) -> fastrt.CalibrationTable:
    return fastrt.calibrate(small.network, CROPS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda found: {"low": found["high"] + 1}, "low is above high"),
        (lambda found: {"low": found["high"], "high": found["low"]}, "low is above high"),
        (lambda _: {"amax": 0}, "amax is 0, and the values are not"),
        (lambda found: {"amax": 100 * found["amax"]}, "amax is above all values"),
        (lambda _: {"amax": -1}, "input should be greater"),
        (lambda _: {"saturated": 2}, "input should be less"),
    ],
)
def test_an_edited_table_is_refused(change: Any, reason: str, table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    table.save(tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text())
    name, found = next((name, found) for name, found in content["ranges"].items() if found["high"] > found["low"])
    content["ranges"][name] = {**found, **change(found)}
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(fastrt.CalibrationError, match=rf"t\.json: ranges\.{name}.*{reason}"):
        read_table(tmp_path / "t.json")


def test_two_images_have_no_order_of_neighbours(small: Small, table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    write_engine(small.network, tmp_path / "e.xml", EngineConfig("int8", table=table))
    with fastrt.load(tmp_path / "e.xml") as session:
        report = str(fastrt.verify(session, small.network, CROPS[:2]))
        assert "not compared: 2 images; 3 or more have an order" in report
        assert "nan" not in report
        with pytest.raises(fastrt.EngineError, match="images: 4 equal ones at 64x32; expected different ones"):
            fastrt.verify(session, small.network, [CROPS[0]] * 4)
    with fastrt.load(small.engine) as session:  # fp32 is compared by value
        assert fastrt.verify(session, small.network, [CROPS[0]] * 4)


def test_equal_images_do_not_judge_int8(small: Small, table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    with pytest.raises(fastrt.CalibrationError, match="images: 10, of which 1 differ; expected at least 8 different"):
        fastrt.build(small.network, tmp_path / "e.xml", precision="int8", table=table, images=[CROPS[0]] * 10)
    odd: Any = [3] * 10
    with pytest.raises(fastrt.ImageError, match="image 0: int; expected"):
        fastrt.build(small.network, tmp_path / "e.xml", precision="int8", table=table, images=odd)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bound", [np.nan, 1.5, True])
def test_a_bound_is_a_cosine(bound: Any, small: Small, table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    with pytest.raises(fastrt.FastrtError, match="min_similarity: .*; expected a (finite )?number"):
        fastrt.build(small.network, tmp_path / "e.xml", precision="int8", table=table, min_similarity=bound)


def test_a_lone_pair_is_verified_without_a_warning(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path, run: Run
) -> None:
    import PIL.Image

    write_engine(small.network, tmp_path / "e.xml", EngineConfig("int8", table=table))
    for i in range(2):
        PIL.Image.fromarray(CROPS[i]).save(tmp_path / f"{i}.png")
    words = ("--config", small.config, "--images", tmp_path / "0.png", "--images", tmp_path / "1.png")
    done = run("verify", tmp_path / "e.xml", small.checkpoint, *words)
    assert "Warning" not in done.err
    assert "nan" not in done.out

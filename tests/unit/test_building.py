"""`fastrt.build`: one return type, and for int8 the whole search. `tests/cli` runs the search unpatched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Small
from fastrt import building
from fastrt.arrays import Image
from fastrt.images.drawing import draw_person
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_layers
from fastrt.quantization import report
from fastrt.quantization.layer_timing import SpeedSelection
from fastrt.quantization.sensitivity import Mix
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.openvino.target import OpenVinoTarget

USED = [draw_person(i // 2, i % 2, 64, 32) for i in range(24)]
UNUSED = [draw_person(i // 2, i % 2, 64, 32) for i in range(24, 36)]


@pytest.fixture(scope="module")
def table(small: Small) -> fastrt.CalibrationTable:
    return fastrt.calibrate(small.network, USED)


@pytest.fixture
def convolutions(small: Small, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The network's convolutions; a search finds the first, and no engine is timed."""
    names = list_layers(fold_scales(small.network))

    def search(_: object, __: object, target: str, bound: float, images: list[Image], advance: object) -> Mix:
        assert (target, bound, images[: len(UNUSED)]) == ("openvino", 0.9, UNUSED)
        return Mix((names[0],), 0.95, 0.8, {})

    def compare_speed(sessions: Iterable[str], *_: object) -> dict[str, dict[int, float]]:
        return {name: {1: 100.0} for name in sessions}

    monkeypatch.setattr(building, "find_mix", search)
    monkeypatch.setattr(report, "compare_speed", compare_speed)
    return names


def test_a_bound_excludes_layers_and_compares_with_fp32(
    small: Small, table: fastrt.CalibrationTable, convolutions: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "engine.xml"
    built = fastrt.build(small.network, path, precision="int8", table=table, min_similarity=0.9, images=UNUSED)
    assert fastrt.describe(path) == built.info
    assert built.info.kept == (convolutions[0],)
    assert built.info.min_similarity == 0.9
    assert built.checks
    assert built.quantization is not None
    assert built.quantization.kept == built.info.kept
    assert built.quantization.images == "12 given images"
    lines = str(built).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["fingerprint", "values", "places", "ranks", "int8"]
    assert lines[5].startswith("mean-centred cosine to fp32: least ")
    assert lines[-1] == "64x32 to 512, openvino int8"
    names = {"engine.xml", "engine.bin", "engine.report.json", "engine.report.md"}
    assert {file.name for file in tmp_path.iterdir()} == names


@pytest.mark.usefixtures("convolutions")
def test_int8_is_compared_with_fp32_when_asked(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, crops = tmp_path / "engine.xml", tmp_path / "crops"
    crops.mkdir()
    for i, image in enumerate(UNUSED):
        PIL.Image.fromarray(image[..., ::-1]).save(crops / f"{i}.png")
    shared: dict[str, Any] = {"precision": "int8", "table": table, "check": False}
    plain = fastrt.build(small.network, path, **shared)
    assert plain == fastrt.BuildReport(fastrt.describe(path), None, None)
    compared = fastrt.build(small.network, path, images=[crops], **shared).quantization
    assert compared is not None
    assert compared.images == "12 images that calibration did not use"
    with caplog.at_level(logging.WARNING, "fastrt"):
        compared = fastrt.build(small.network, path, compare=True, **shared).quantization
    assert "int8 is compared on drawn images" in caplog.text
    assert compared is not None
    assert compared.images == "64 drawn images"


def test_slower_layers_are_excluded_where_the_target_times_them(
    small: Small,
    table: fastrt.CalibrationTable,
    convolutions: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = convolutions[-1]
    trials: list[EngineInfo] = []

    def exclude(
        network: fastrt.Network,
        target: str,
        kept: Collection[str],
        build: Callable[[Path, Precision, Collection[str]], EngineInfo],
        advance: object,
    ) -> SpeedSelection:
        trials.extend(build(tmp_path / "trial.xml", precision, ()) for precision in ("fp32", "int8"))
        return SpeedSelection((*kept, slow), (slow,), "int8", {})

    monkeypatch.setattr(OpenVinoTarget, "measures", True)
    monkeypatch.setattr(building, "exclude_slower", exclude)
    shared: dict[str, Any] = {"precision": "int8", "table": table, "check": False}
    with caplog.at_level(logging.WARNING, "fastrt"):
        built = fastrt.build(small.network, tmp_path / "engine.xml", min_similarity=0.9, images=UNUSED, **shared)
    assert built.info.kept == (convolutions[0], slow)
    assert [(info.precision, info.min_similarity) for info in trials] == [("fp32", None), ("int8", None)]
    assert f"slower in int8 by themselves: {slow}" in caplog.text


def test_arguments_that_do_not_fit_are_refused(small: Small, table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    path = tmp_path / "engine.xml"
    with pytest.raises(fastrt.CalibrationError, match="precision fp32: min_similarity, images or compare is given"):
        fastrt.build(small.network, path, min_similarity=0.9)
    with pytest.raises(fastrt.CalibrationError, match="Calibrate first: fastrt calibrate"):
        fastrt.build(small.network, path, precision="int8", min_similarity=0.9)
    with pytest.raises(fastrt.CalibrationError, match="Leave kept out"):
        fastrt.build(small.network, path, precision="int8", table=table, kept=["conv1"], min_similarity=0.9)
    with pytest.raises(fastrt.CalibrationError, match="^images: 2 that can be read .*; expected at least 8"):
        fastrt.build(small.network, path, precision="int8", table=table, images=np.stack(UNUSED[:2]))
    assert not list(tmp_path.iterdir())

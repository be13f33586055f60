"""`fastrt.build`: one return type, and for int8 the whole search."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Small
from fastrt.images.drawing import draw_person
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_convolutions
from fastrt.quantization import exclusion
from fastrt.quantization.layer_timing import Pace
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.openvino import OpenVinoTarget

SEEN = [draw_person(i // 2, i % 2, 64, 32) for i in range(24)]
UNSEEN = [draw_person(i // 2, i % 2, 64, 32) for i in range(24, 36)]


@pytest.fixture(scope="module")
def table(small: Small) -> fastrt.CalibrationTable:
    return fastrt.calibrate(small.network, SEEN)


def test_the_search_for_a_similarity_takes_one_call(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "engine.xml"
    report = fastrt.build(small.network, path, precision="int8", table=table, min_similarity=0.999, images=UNSEEN)
    assert fastrt.describe(path) == report.info
    assert report.info.kept
    assert report.info.min_similarity == 0.999
    assert report.checks
    assert report.quantization is not None
    assert report.quantization.kept == report.info.kept
    assert report.quantization.least_similarity >= 0.999
    assert report.quantization.images == "12 given images"
    lines = str(report).splitlines()
    assert lines[0].startswith("int8  ok    mean-centred cosine ")
    assert lines[1].startswith("mean-centred cosine to fp32: least ")
    assert lines[-1] == "64x32 to 512, openvino int8"
    assert {file.name for file in tmp_path.iterdir()} == {"engine.xml", "engine.bin"}


def test_int8_is_compared_with_fp32_when_asked(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, crops = tmp_path / "engine.xml", tmp_path / "crops"
    crops.mkdir()
    for i, image in enumerate(UNSEEN):
        PIL.Image.fromarray(image[..., ::-1]).save(crops / f"{i}.png")
    assert fastrt.build(small.network, path, precision="int8", table=table, check=False) == fastrt.BuildReport(
        fastrt.describe(path), None, None
    )
    report = fastrt.build(small.network, path, precision="int8", table=table, images=[crops])
    assert report.info.kept is None
    assert report.quantization is not None
    assert report.quantization.images == "12 images that calibration has not seen"
    with caplog.at_level(logging.WARNING, "fastrt"):
        report = fastrt.build(small.network, path, precision="int8", table=table, compare=True)
    assert "int8 is compared on drawn images" in caplog.text
    assert report.quantization is not None
    assert report.quantization.images == "64 drawn images"


def test_slower_layers_are_excluded_where_the_target_times_them(
    small: Small,
    table: fastrt.CalibrationTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = list_convolutions(fold_scales(small.network))[-1]
    trials: list[EngineInfo] = []

    def keep(
        network: fastrt.Network,
        target: str,
        kept: Collection[str],
        build: Callable[[Path, Precision, Collection[str]], EngineInfo],
        advance: object,
    ) -> Pace:
        assert target == "openvino"
        trials.extend(build(tmp_path / "trial.xml", precision, ()) for precision in ("fp32", "int8"))
        return Pace((*kept, slow), (slow,), "int8", {})

    monkeypatch.setattr(OpenVinoTarget, "measures", True)
    monkeypatch.setattr(exclusion, "keep_slower", keep)
    with caplog.at_level(logging.WARNING, "fastrt"):
        report = fastrt.build(
            small.network, tmp_path / "engine.xml", precision="int8", table=table, min_similarity=0.5, images=UNSEEN,
            check=False,
        )  # fmt: skip
    assert report.info.kept == (slow,)
    assert [(info.precision, info.min_similarity) for info in trials] == [("fp32", None), ("int8", None)]
    assert f"slower in int8 by themselves: {slow}" in caplog.text


def test_arguments_that_do_not_fit_are_refused(small: Small, table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    path = tmp_path / "engine.xml"
    with pytest.raises(fastrt.CalibrationError, match="min_similarity, images and compare are for int8, and fp32"):
        fastrt.build(small.network, path, min_similarity=0.9)
    with pytest.raises(fastrt.CalibrationError, match="calibrate first: fastrt calibrate"):
        fastrt.build(small.network, path, precision="int8", min_similarity=0.9)
    with pytest.raises(fastrt.CalibrationError, match="leave kept out"):
        fastrt.build(small.network, path, precision="int8", table=table, kept=["conv1"], min_similarity=0.9)
    with pytest.raises(fastrt.CalibrationError, match="2 images can be read .* give at least 8"):
        fastrt.build(small.network, path, precision="int8", table=table, images=np.stack(UNSEEN[:2]))
    assert not list(tmp_path.iterdir())

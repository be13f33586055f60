"""An engine is right, or it is refused: finite, with its own weights, as good in `verify` as in `build`."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Run, Small
from fastrt import building
from fastrt.arrays import Array
from fastrt.engine.build import EngineConfig, write_engine
from fastrt.engine.build import build as build_engine
from fastrt.engine.calibration_table import TensorRange, read_table
from fastrt.engine.load import list_layers
from fastrt.images.drawing import draw_person
from fastrt.quantization import report
from fastrt.quantization.evaluation_images import choose_images
from fastrt.testing.untrained import draw_weights

CROPS = [draw_person(i // 2, i % 2, 64, 32) for i in range(24)]


@pytest.fixture(scope="module")
def table(small: Small) -> fastrt.CalibrationTable:
    return fastrt.calibrate(small.network, CROPS)


@pytest.fixture(scope="module")
def other(small: Small) -> fastrt.Network:
    spec = fastrt.load_spec(small.config)
    return fastrt.build_network(spec, draw_weights(spec, seed=1))


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def _spoil(small: Small, name: str, factor: float) -> tuple[dict[str, Array], fastrt.Network]:
    arrays = {**small.arrays, name: (small.arrays[name] * np.float32(factor)).astype(np.float32)}
    return arrays, fastrt.build_network(fastrt.load_spec(small.config), arrays)


SPOILED = [
    ("heads.pool_layer.p", 30.0),  # GeM with p = 90
    ("backbone.layer4.1.bn2.weight", 1e30),
    ("heads.bottleneck.0.weight", 1e30),  # finite, but its square is not
]


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])  # .npz computes in float64, where they are finite
@pytest.mark.parametrize(("name", "factor"), SPOILED)
def test_an_engine_whose_embeddings_are_not_finite_is_not_built(
    name: str, factor: float, suffix: str, small: Small, tmp_path: Path
) -> None:
    path = tmp_path / f"engine{suffix}"
    for check in (None, False):
        with pytest.raises(fastrt.EngineError) as caught:
            fastrt.build(_spoil(small, name, factor)[1], path, check=check)
        assert str(caught.value).startswith(f"{path}: in fp32 the embeddings of drawn images have ")
        assert "No file is written: check the weights" in str(caught.value)
    assert not _names(tmp_path)


def test_build_ends_with_2_where_embeddings_are_not_finite(run: Run, small: Small, tmp_path: Path) -> None:
    arrays, _ = _spoil(small, "heads.pool_layer.p", 30.0)
    fastrt.save_weights(arrays, tmp_path / "m.pth")
    built = run("build", tmp_path / "m.pth", "--config", small.config, "-o", tmp_path / "e.xml")
    assert built.code == 2
    assert "have NaN or infinity" in built.err
    assert _names(tmp_path) == {"m.pth"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value: float, small: Small) -> None:
    with pytest.raises(fastrt.WeightsError, match="NaN or infinity"):
        _spoil(small, "backbone.conv1.weight", value)


def test_what_is_computed_with_such_an_engine_fails_or_is_refused(small: Small, tmp_path: Path) -> None:
    network = _spoil(small, "heads.pool_layer.p", 30.0)[1]
    write_engine(network, tmp_path / "e.xml", EngineConfig())  # as an earlier version built it
    with pytest.raises(fastrt.CalibrationError, match="NaN or infinity on the calibration images"):
        fastrt.calibrate(network, CROPS[:8])
    with fastrt.load(tmp_path / "e.xml") as session:
        assert not fastrt.verify(session, network)
        with pytest.raises(fastrt.EngineError, match="have NaN or infinity"):
            fastrt.benchmark(session, seconds=0)


def test_weights_of_another_engine_are_refused(small: Small, other: fastrt.Network, tmp_path: Path) -> None:
    fastrt.build(small.network, tmp_path / "a.xml")
    fastrt.build(other, tmp_path / "b.xml")
    shutil.copy(tmp_path / "b.bin", tmp_path / "a.bin")
    for read in (fastrt.load, fastrt.describe, list_layers):
        with pytest.raises(fastrt.EngineError, match=r"a\.bin: SHA-256 .*; expected .* as in a\.xml.*copy both"):
            read(tmp_path / "a.xml")


def test_changed_weights_are_refused(small: Small, tmp_path: Path) -> None:
    shutil.copy(small.engine, tmp_path / "a.xml")
    content = bytearray(small.engine.with_suffix(".bin").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(fastrt.EngineError, match="of another engine, or damaged"):
        fastrt.load(tmp_path / "a.xml")


@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_a_changed_bit_anywhere_is_refused(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    fastrt.build(small.network, path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in (*rng.integers(0, len(content), 8), *rng.integers(len(content) - 2000, len(content), 6)):
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            with fastrt.load(path) as session, fastrt.load(small.engine) as right:
                np.testing.assert_allclose(session(CROPS[:2]), right(CROPS[:2]), atol=1e-4)  # of no effect
        except fastrt.EngineError as error:
            assert str(error).startswith(f"{path}: "), error  # noqa: PT017


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_a_changed_network_is_refused_by_its_checksum(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    fastrt.build(small.network, path)
    for old, new in ((b"heads.pool_layer.", b"heads.pool_laver."), (b"normalized", b"normalised")):
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))
        for read in (fastrt.load, fastrt.describe, list_layers):
            with pytest.raises(fastrt.EngineError, match=r"a\.\w+: damaged, or changed by another tool: .* Copy it"):
                read(path)
        fastrt.build(small.network, path)


def test_engines_of_earlier_versions_have_no_checksum_and_load(small: Small, tmp_path: Path) -> None:
    tree = ET.parse(small.engine)
    info = tree.find("rt_info")
    assert info is not None
    entry = info.find("fastrt_weights")
    assert entry is not None
    info.remove(entry)
    tree.write(tmp_path / "a.xml")
    shutil.copy(small.engine.with_suffix(".bin"), tmp_path / "a.bin")
    with fastrt.load(tmp_path / "a.xml") as old, fastrt.load(small.engine) as new:
        np.testing.assert_array_equal(old(CROPS[:2]), new(CROPS[:2]))


def test_the_table_of_another_calibration_is_refused(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "e.xml"
    fastrt.build(small.network, path, precision="int8", table=table)
    alike = fastrt.calibrate(small.network, CROPS[::-1][:12] * 2)
    assert alike.summary == table.summary
    table.save(tmp_path / "t.json")
    with fastrt.load(path) as session:
        assert fastrt.verify(session, small.network, table=read_table(tmp_path / "t.json"))
        with pytest.raises(fastrt.CalibrationError, match="Give the table that the engine was built with"):
            fastrt.verify(session, small.network, table=alike)


def _compare_speed(sessions: dict[str, object], *_: object) -> dict[str, dict[int, float]]:
    return {name: {1: 100.0} for name in sessions}


def test_an_int8_engine_and_its_report_appear_together(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "compare_speed", _compare_speed)
    path = tmp_path / "e.xml"
    fastrt.build(small.network, path, precision="int8", table=table, compare=True)
    assert _names(tmp_path) == {"e.xml", "e.bin", "e.report.json", "e.report.md"}
    content = json.loads((tmp_path / "e.report.json").read_text())
    assert content["engine"] == fastrt.files.hash_file(path)
    fastrt.build(small.network, path)  # whose report this is not
    assert _names(tmp_path) == {"e.xml", "e.bin"}


def test_an_interrupted_comparison_leaves_nothing_new(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "compare_int8", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fastrt.build(small.network, tmp_path / "e.xml", precision="int8", table=table, compare=True)
    assert not _names(tmp_path)
    fastrt.build(small.network, tmp_path / "e.xml")
    with pytest.raises(KeyboardInterrupt):
        fastrt.build(small.network, tmp_path / "e.xml", precision="int8", table=table, compare=True)
    assert fastrt.describe(tmp_path / "e.xml").precision == "fp32"
    assert _names(tmp_path) == {"e.xml", "e.bin"}


def _worsen(table: fastrt.CalibrationTable, factor: float) -> fastrt.CalibrationTable:
    """A table whose ranges cut values off, as those of unsuitable images do."""
    ranges = {
        name: TensorRange(**{**found.model_dump(), "amax": factor * found.amax}) for name, found in table.ranges.items()
    }
    return table.model_copy(update={"ranges": ranges})


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.35, 0.25, 0.1])
def test_build_and_verify_agree_on_int8(
    factor: float, small: Small, table: fastrt.CalibrationTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worse, path = _worsen(table, factor), tmp_path / "e.xml"
    with caplog.at_level(logging.WARNING, "fastrt"):
        try:
            fastrt.build(small.network, path, precision="int8", table=worse)
            built, failed = True, ""
        except fastrt.EngineError as error:
            built, failed = False, str(error)
            write_engine(small.network, path, EngineConfig("int8", table=worse))
    assert ("values       FAIL  mean-centred cosine" in failed) == (not built)
    with fastrt.load(path) as session:
        verified, with_table = (fastrt.verify(session, small.network, table=given) for given in (None, worse))
    assert built == bool(verified) == bool(with_table)
    found = re.search(r"values .* mean-centred cosine (\S+)", str(verified))
    assert found
    assert (float(found[1]) < 0.97) == ("--min-similarity 0.97" in caplog.text)


def test_build_and_verify_agree_on_a_bound_that_does_not_hold(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    path, config = tmp_path / "e.xml", EngineConfig("int8", table=_worsen(table, 0.35), min_similarity=0.99)
    with pytest.raises(fastrt.EngineError, match=r"values       FAIL  .*, at least 0\.98900 expected"):
        build_engine(small.network, path, config)
    assert not _names(tmp_path)
    write_engine(small.network, path, config)
    with fastrt.load(path) as session:
        assert not fastrt.verify(session, small.network)
        assert not fastrt.verify(session, small.network, table=config.table)


def test_the_comparison_with_fp32_warns_of_its_figure(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(report, "compare_speed", _compare_speed)
    _worsen(table, 0.35).save(tmp_path / "t.json")
    words = ("--config", small.config, "--precision", "int8", "--calibration", tmp_path / "t.json", "--no-check")
    built = run("build", small.checkpoint, *words, "-o", tmp_path / "e.xml")
    assert built.code == 0, built.err
    figure = json.loads((tmp_path / "e.report.json").read_text())["least_similarity"]
    assert f"the least mean-centred cosine of int8 to fp32 is {figure:.4f} on 64 drawn images" in built.err
    assert "--min-similarity" in built.err


@pytest.fixture
def calibrated(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """A folder with 24 images and a table of 12 of them, which `calibrate` named relative to the folder."""
    folder = tmp_path / "calibrated"
    (folder / "images").mkdir(parents=True)
    for i, crop in enumerate(CROPS):
        PIL.Image.fromarray(crop[..., ::-1]).save(folder / "images" / f"{i}.png")
    monkeypatch.chdir(folder)
    words = ("--config", small.config, "--images", "images", "--count", "12", "-o", "t.json")
    assert run("calibrate", small.checkpoint, *words).code == 0
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_table_names_its_images_from_any_folder(
    calibrated: Path, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(report, "compare_speed", _compare_speed)
    assert '"images/' in (calibrated / "t.json").read_text()
    words = ("--config", small.config, "--precision", "int8", "--calibration", "calibrated/t.json")
    built = run("build", small.checkpoint, *words, "-o", "e.xml")
    assert built.code == 0, built.err
    assert "12 images that calibration did not use" in built.out
    calibrated.rename(tmp_path / "moved")  # both, the table and its images
    assert read_table(tmp_path / "moved" / "t.json").held_out[0].startswith(str(tmp_path / "moved" / "images"))
    given = run(
        "build", small.checkpoint, *words[:-1], "moved/t.json", "--images", "moved/images/../images", "-o", "e.xml"
    )
    assert "12 images that calibration did not use" in given.out, given.err


def test_images_of_a_table_that_were_moved_are_named(calibrated: Path, caplog: pytest.LogCaptureFixture) -> None:
    (calibrated / "images").rename(calibrated / "elsewhere")
    table = read_table(calibrated / "t.json")
    with caplog.at_level(logging.WARNING, "fastrt"):
        _, description = choose_images(table, None)
    assert description == "64 drawn images"
    assert f"12 of 12 images that calibration left over are missing, first {table.held_out[0]}" in caplog.text
    assert "because of those that calibration left over 0 can be read, and 8 are needed" in caplog.text


def test_names_of_a_callers_own_images_are_no_paths(table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    table.save(tmp_path / "t.json")
    assert read_table(tmp_path / "t.json") == table

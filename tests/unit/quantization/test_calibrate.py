from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastrt
from conftest import Small
from fastrt.arrays import Image
from fastrt.images.drawing import draw_person
from fastrt.images.sample import ImageSample, draw_held_out, read_images
from fastrt.ir.ops import Convolution
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_layers, list_sites
from fastrt.quantization.report import compare_int8
from fastrt.quantization.sensitivity import find_mix
from fastrt.targets.reference import trace_reference

IMAGES = [draw_person(i // 2, i % 2, 64, 32) for i in range(24)]


@pytest.fixture(scope="module")
def table(small: Small) -> fastrt.CalibrationTable:
    return fastrt.calibrate(small.network, IMAGES)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cv2

    folder = tmp_path_factory.mktemp("crops")
    (folder / "deeper").mkdir()
    for i in range(12):
        image = draw_person(i, 0, 40 + 9 * i, 30 + 5 * i)
        cv2.imwrite(str(folder / ("deeper" if i % 2 else ".") / f"{i}.png"), image)
    shutil.copy(folder / "0.png", folder / "again.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no jpeg")
    (folder / "empty.png").write_bytes(b"")
    return folder


def _paths(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_ranges_are_those_of_the_tensors(small: Small, table: fastrt.CalibrationTable) -> None:
    planes = np.stack(IMAGES)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    folded = fold_scales(small.network)
    values = trace_reference(folded, planes)
    assert list(table.ranges) == list_sites(folded)
    for name, found in table.ranges.items():
        assert found.low == pytest.approx(values[name].min(), abs=2e-4)
        assert found.high == pytest.approx(values[name].max(), abs=2e-4)
        assert 0 < found.amax <= max(-found.low, found.high)
        assert found.saturated < 0.01
    for name, means in table.means.items():
        assert np.allclose(means, values[name].mean((0, 2, 3)), atol=1e-3)


def test_minmax_saturates_nothing_and_methods_differ(small: Small, table: fastrt.CalibrationTable) -> None:
    widest = fastrt.calibrate(small.network, IMAGES, "minmax")
    for name, found in widest.ranges.items():
        assert found.saturated == 0
        assert found.amax == pytest.approx(max(-found.low, found.high))
        assert table.ranges[name].amax <= found.amax
    assert any(table.ranges[name].amax < found.amax for name, found in widest.ranges.items())


def test_a_table_survives_its_file_and_reads_a_line_a_tensor(table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table.save(path)
    assert fastrt.read_table(path) == table
    lines = path.read_text().splitlines()
    name = next(iter(table.ranges))
    assert sum(line.startswith(f'  "{name}": {{"low": ') for line in lines) == 1


def test_a_table_holds_names_that_are_not_utf8(table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    odd = table.model_copy(update={"images": (os.fsdecode(b"\xd6\xd0.jpg"), "\u4e2d.jpg")})
    odd.save(path)
    assert fastrt.read_table(path) == odd
    assert '"\\udcd6\\udcd0.jpg", "\u4e2d.jpg"' in path.read_text("utf-8")


def test_the_same_images_give_the_same_table_in_batches_or_not(small: Small, table: fastrt.CalibrationTable) -> None:
    again = fastrt.calibrate(small.network, iter(IMAGES))
    assert again == table
    assert fastrt.calibrate(small.network, np.stack(IMAGES)).ranges == table.ranges


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "", "is not JSON"),
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: text.replace('"amax": ', '"amax": -', 1), r"amax: input should be greater than or equal to 0"),
        (lambda text: text.replace('"format": 1', '"format": 9'), "format: input should be 1"),
        (lambda _: json.dumps([1, 2]), "the file: input should be"),
        (lambda _: 100_000 * "[", "is not JSON"),
    ],
)
def test_a_damaged_table_is_refused(
    change: object, message: str, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    table.save(path)
    assert callable(change)
    path.write_text(change(path.read_text()))
    with pytest.raises(fastrt.CalibrationError, match=message):
        fastrt.read_table(path)
    with pytest.raises(fastrt.CalibrationError, match="nowhere.json: cannot be read .*; expected a calibration table"):
        fastrt.read_table(tmp_path / "nowhere.json")


def test_int8_without_a_table_or_with_anothers_is_refused(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "engine.xml"
    with pytest.raises(fastrt.CalibrationError, match="Calibrate first: fastrt calibrate"):
        fastrt.build(small.network, path, precision="int8")
    other = table.model_copy(update={"fingerprint": "0" * 64})
    with pytest.raises(fastrt.CalibrationError, match="is another; expected the network's"):
        fastrt.build(small.network, path, precision="int8", table=other)
    with pytest.raises(fastrt.CalibrationError, match="^precision fp32: a calibration table or"):
        fastrt.build(small.network, path, table=table)
    assert not list(tmp_path.iterdir())


def test_no_images_and_unknown_methods_are_refused(small: Small) -> None:
    with pytest.raises(fastrt.CalibrationError, match="calibration: no images"):
        fastrt.calibrate(small.network, [])
    with pytest.raises(fastrt.CalibrationError, match="calibration method: magic; expected minmax, percentile"):
        fastrt.calibrate(small.network, IMAGES, "magic")  # type: ignore[arg-type]
    with pytest.raises(fastrt.ImageError):
        fastrt.calibrate(small.network, [np.zeros((3, 64, 32), np.uint8)])


def test_values_that_are_not_finite_are_told(small: Small) -> None:
    tensors = list(small.network)
    i = next(i for i, tensor in enumerate(tensors) if tensor.operation.kind == "convolution")
    operation = tensors[i].operation
    assert isinstance(operation, Convolution)
    tensors[i] = replace(tensors[i], operation=replace(operation, weight=operation.weight * np.float32(3e38)))
    with pytest.raises(fastrt.CalibrationError, match="NaN or infinity on the calibration images"):
        fastrt.calibrate(replace(small.network, tensors=tuple(tensors)), IMAGES[:2])


def test_a_sample_is_drawn_by_its_seed_and_names_what_it_left_out(crops: Path) -> None:
    sample = ImageSample(_paths(crops), 12, seed=4)
    first = [image.shape for image in sample]
    assert len(first) == len(set(first)) == 12  # of many sizes, and no image twice
    assert [image.shape for image in ImageSample(sorted(_paths(crops), reverse=True), 12, seed=4)] == first
    assert [image.shape for image in ImageSample(_paths(crops), 12, seed=5)] != first
    assert {Path(name).name for name, _ in sample.unreadable} <= {"broken.jpg", "empty.png"}
    assert len(sample.duplicates) <= 1


def test_too_few_images_are_used_with_a_warning(crops: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(list(ImageSample(_paths(crops), 13))) == 12
    assert "12 images; expected 13. Of 15 files 2 cannot be read" in caplog.text
    assert "1 are duplicates" in caplog.text
    with pytest.raises(fastrt.CalibrationError, match="0 images; expected 1"):
        list(ImageSample([crops / "broken.jpg"], 1))


def test_what_a_sample_leaves_over_is_held_out(crops: Path) -> None:
    sample = ImageSample(_paths(crops), 5)
    list(sample)
    assert sample.held_out
    assert not set(sample.held_out) & set(sample.names)
    held_out = read_images([Path(name) for name in sample.held_out])
    assert all(isinstance(image, np.ndarray) for image in held_out)


@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_an_int8_engine_is_like_the_reference_of_its_network(
    suffix: str, small: Small, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / f"engine{suffix}"
    info = fastrt.build(small.network, path, precision="int8", table=table).info
    assert fastrt.describe(path) == info
    assert (info.precision, info.calibration) == ("int8", "entropy, 24 images")
    with fastrt.load(path) as session, fastrt.load(small.engine) as exact:
        report = fastrt.verify(session, small.network, IMAGES)
        assert (session(IMAGES) * exact(IMAGES)).sum(1).min() > 0.9
    assert [check.name for check in report.checks] == ["fingerprint", "values", "places", "ranks"]
    assert report.checks[2].passed


def test_int8_files_are_a_quarter_of_the_size(small: Small, table: fastrt.CalibrationTable, tmp_path: Path) -> None:
    for name, part in (("engine.xml", ".bin"), ("engine.onnx", ".onnx")):
        path = tmp_path / name
        fastrt.build(small.network, path)
        full = path.with_suffix(part).stat().st_size
        fastrt.build(small.network, path, precision="int8", table=table)
        assert path.with_suffix(part).stat().st_size < 0.27 * full


def test_the_fewest_convolutions_are_excluded_that_reach_the_bound(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    held_out: list[Image] = draw_held_out((64, 32), 12)
    pure = find_mix(small.network, table, "openvino", 0.0, held_out)
    assert (pure.kept, pure.losses) == ((), {})
    bound = 1 - (1 - pure.similarity) / 3
    steps: list[tuple[str, int, int]] = []
    mix = find_mix(small.network, table, "openvino", bound, held_out, lambda *step: steps.append(step))
    assert 0 < len(mix.kept) < len(list_layers(fold_scales(small.network)))
    assert mix.similarity >= bound > mix.pure == pure.similarity
    assert [mix.losses[name] for name in mix.kept] == sorted(mix.losses.values(), reverse=True)[: len(mix.kept)]
    assert steps
    path = tmp_path / "engine.xml"
    info = fastrt.build(small.network, path, precision="int8", table=table, kept=mix.kept, check=False).info
    assert info.kept == mix.kept
    report = compare_int8(path, small.network, table, held_out, "drawn images")
    assert report.pure_similarity == pytest.approx(mix.pure, abs=1e-3)
    assert [row.name for row in report.engines][-1] == "int8, no layer excluded"
    assert "with no layer excluded the least is" in str(report)
    assert report.least_similarity == pytest.approx(mix.similarity, abs=1e-3)
    with pytest.raises(fastrt.CalibrationError, match="^images: 1; expected at least 2"):
        find_mix(small.network, table, "openvino", bound, held_out[:1])


def test_a_report_says_what_changed_and_is_written_beside_the_engine(
    small: Small, table: fastrt.CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "engine.xml"
    fastrt.build(small.network, path, precision="int8", table=table)
    report = compare_int8(path, small.network, table, IMAGES)
    int8, fp32 = report.engines[:2]
    assert (int8.name, fp32.name) == ("int8", "fp32")
    assert int8.bytes < 0.3 * fp32.bytes
    assert 0 < report.least_similarity <= report.mean_similarity <= 1
    assert set(report.saturated) == set(table.ranges)
    data, text = report.save(path)
    assert (data.name, text.name) == ("engine.report.json", "engine.report.md")
    assert json.loads(data.read_text())["nearest"] == report.nearest
    assert f"| mean-centred cosine, least | {report.least_similarity:.4f} |" in text.read_text()
    assert "times as fast as fp32 at batch 1" in str(report)

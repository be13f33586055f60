"""Outputs appear whole or not at all, and errors name the path that was asked for."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import resource
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fastrt
from conftest import Small
from fastrt.evaluation.threshold import Threshold
from fastrt.extraction import Embedded, save_embeddings
from fastrt.files import hash_file, scratch_folder, written_whole
from fastrt.images.drawing import draw_person
from fastrt.quantization.report import EngineRow
from fastrt.targets.tensorrt import plan

CROPS = [draw_person(i // 2, i % 2, 64, 32) for i in range(8)]
SUFFIXES = [".xml", ".onnx", ".npz"]


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """Limit the size of files, so that writes fail in the middle, those of C++ too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file be unwritable, as on a full disk."""

    def refuse(self: Path, mode: str = "r", *words: object, **options: object) -> object:
        if "w" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return opened(self, mode, *words, **options)  # type: ignore[call-overload]

    opened = Path.open
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "write_bytes", lambda self, _: refuse(self, "w"))
    monkeypatch.setattr(Path, "write_text", lambda self, *_: refuse(self, "w"))


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.999, 0.9999999])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_engine_that_does_not_fit_is_refused_by_its_own_name(
    suffix: str, fraction: float, small: Small, tmp_path: Path
) -> None:
    path = tmp_path / f"engine{suffix}"
    fastrt.build(small.network, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    largest = max(map(len, before.values()))
    with _files_up_to(int(fraction * largest)), pytest.raises(fastrt.OutputError) as caught:
        fastrt.build(small.network, path, resampler="cv2-linear")
    assert str(caught.value) == (
        f"{path}: cannot be written (file too large); expected a writable folder with free space."
    )
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


WRITERS: dict[str, Callable[[Small, Path], object]] = {
    **{f"engine{suffix}": lambda small, path: fastrt.build(small.network, path) for suffix in SUFFIXES},
    **{
        f"model{suffix}": lambda small, path: fastrt.save_weights(small.arrays, path)
        for suffix in (".wts", ".safetensors")
    },
    "table.json": lambda small, path: fastrt.calibrate(small.network, CROPS).save(path),
    "rows.npy": lambda small, path: save_embeddings(
        Embedded(np.ones((1, 512), np.float32), (Path("a"),), ()), path, fastrt.describe(small.engine)
    ),
    "e.threshold.json": lambda _, path: Threshold(0.5, 0.1, (0, 1), 1, (1, 1)).save(path.parent / "e.xml", "x"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_with_the_path_that_was_asked_for(
    name: str, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    if name == "table.json":  # whose own engine is a temporary file
        table = fastrt.calibrate(small.network, CROPS)
        monkeypatch.setitem(WRITERS, name, lambda _, path: table.save(path))
    monkeypatch.setattr("fastrt.targets.openvino.target.ov.save_model", fail)
    monkeypatch.setattr("fastrt.evaluation.threshold.hash_file", lambda _: 64 * "0")  # there is no e.xml
    with monkeypatch.context() as context:
        _fill_disk(context)
        with pytest.raises(fastrt.OutputError) as caught:
            WRITERS[name](small, tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot be written (no space left on device)")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".pth", ".wts", ".safetensors"])
def test_weights_that_do_not_fit_leave_the_old_file(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_text("old")
    with _files_up_to(1 << 20), pytest.raises(fastrt.OutputError) as caught:
        fastrt.save_weights(small.arrays, path)
    assert str(caught.value).startswith(f"{path}: cannot be written (file too large)")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reason_that_openvino_alone_knows_is_given(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, path: Path, **__: object) -> None:
        raise RuntimeError(f"Can't open {path}")

    monkeypatch.setattr("fastrt.targets.openvino.target.ov.save_model", fail)
    with pytest.raises(fastrt.OutputError) as caught:
        fastrt.build(small.network, tmp_path / "e.xml")
    assert str(caught.value).startswith(f"{tmp_path / 'e.xml'}: cannot be written (Can't open {tmp_path / 'e.xml'})")


def test_full_temporary_files_are_named_as_such(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _files_up_to(1000), pytest.raises(fastrt.OutputError) as caught:
        fastrt.calibrate(small.network, CROPS)
    assert str(caught.value) == (
        "temporary files: cannot be written (file too large); expected a writable folder with free space. Set TMPDIR to"
        " one."
    )
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(fastrt.OutputError, match="temporary files: .*no such file or directory"):
        fastrt.calibrate(small.network, CROPS)


def test_errors_of_a_callers_images_are_the_callers(small: Small) -> None:
    with pytest.raises(FileNotFoundError, match=r"crops\.zip"):
        fastrt.calibrate(small.network, (Path("crops.zip").read_bytes() for _ in range(3)))  # type: ignore[misc]


def test_errors_of_a_block_name_the_output(tmp_path: Path) -> None:
    path = tmp_path / "e.xml"
    with pytest.raises(fastrt.EngineError) as caught, written_whole(path) as temporary:
        raise fastrt.EngineError(f"{temporary} and {temporary.with_suffix('.bin')}: damaged")
    assert str(caught.value) == f"{path} and {path.with_suffix('.bin')}: damaged"


def test_a_companion_that_is_a_folder_is_refused_before_anything_is_moved(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "e.xml"
    (tmp_path / "e.bin").mkdir()
    with pytest.raises(fastrt.OutputError, match=r"e\.bin: is a folder"):
        fastrt.build(small.network, path)
    assert [file.name for file in tmp_path.iterdir()] == ["e.bin"]


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("content", ["checkpoint", "safetensors", "pickle", "text", "numbers"])
def test_a_file_in_the_place_of_the_weights_is_not_overwritten(
    content: str, beside: bool, small: Small, tmp_path: Path
) -> None:
    fastrt.save_weights(small.arrays, tmp_path / "m.safetensors")
    data = {
        "checkpoint": small.checkpoint.read_bytes(),
        "safetensors": (tmp_path / "m.safetensors").read_bytes(),
        "pickle": pickle.dumps({"a": 1}),
        "text": b"my notes",
        "numbers": np.random.default_rng(0).bytes(4096),
    }[content]
    (tmp_path / "m.bin").write_bytes(data)
    if beside:
        (tmp_path / "m.xml").write_bytes(small.engine.read_bytes())
    with pytest.raises(fastrt.OutputError, match=r"m\.bin: exists, and is not of an engine m\.xml"):
        fastrt.build(small.network, tmp_path / "m.xml")
    assert (tmp_path / "m.bin").read_bytes() == data


def test_an_engine_is_rebuilt_in_its_place(small: Small, tmp_path: Path) -> None:
    engine = tmp_path / "m.xml"
    fastrt.build(small.network, engine)
    weights = engine.with_suffix(".bin")
    before = weights.read_bytes()
    fastrt.build(small.network, engine, normalize=False)
    assert weights.read_bytes() != before
    fastrt.build(small.network, engine)
    assert weights.read_bytes() == before
    engine.unlink()  # and where only the weights are left of it
    fastrt.build(small.network, engine)
    assert weights.read_bytes() == before


@pytest.mark.parametrize("name", ["m.report.json", "m.report.md"])
def test_a_file_in_the_place_of_a_report_is_not_overwritten(name: str, small: Small, tmp_path: Path) -> None:
    engine = tmp_path / "m.npz"
    (tmp_path / name).write_text("{}")
    fastrt.build(small.network, engine)  # without a report
    table = fastrt.calibrate(small.network, CROPS)
    with pytest.raises(fastrt.OutputError, match=f"{name}: exists, and is not of an engine m.npz"):
        fastrt.build(small.network, engine, precision="int8", table=table, images=CROPS)
    assert (tmp_path / name).read_text() == "{}"
    assert fastrt.describe(engine).precision == "fp32"


def test_the_report_of_another_engine_that_stands_there_is_not_touched(small: Small, tmp_path: Path) -> None:
    table = fastrt.calibrate(small.network, CROPS)
    first, second = tmp_path / "m.npz", tmp_path / "m.onnx"
    fastrt.build(small.network, first)
    report = fastrt.QuantizationReport(
        engine=hash_file(first),
        target="x",
        machine="x",
        calibration="x",
        images="x",
        least_similarity=1,
        mean_similarity=1,
        nearest=1,
        ranks=1,
        saturated={},
        engines=(EngineRow(name="int8", bytes=1, images_s={1: 1}), EngineRow(name="fp32", bytes=1, images_s={1: 1})),
    )
    report.save(first)
    reports = {file: file.read_bytes() for file in tmp_path.glob("m.report.*")}
    assert len(reports) == 2
    fastrt.build(small.network, second)
    with pytest.raises(fastrt.OutputError, match=r"report\.json: exists, and is not of an engine m\.onnx"):
        fastrt.build(small.network, second, precision="int8", table=table, images=CROPS)
    assert {file: file.read_bytes() for file in tmp_path.glob("m.report.*")} == reports
    fastrt.build(small.network, first)  # the engine of the report is replaced
    assert not list(tmp_path.glob("m.report.*"))


def test_files_that_appear_during_a_build_are_not_overwritten(small: Small, tmp_path: Path) -> None:
    def write(session: fastrt.Session) -> fastrt.Report:
        (tmp_path / "m.bin").write_text("my notes")
        return fastrt.verify(session, small.network)

    with pytest.raises(fastrt.OutputError, match=r"m\.bin: exists, and is not of an engine m\.xml"):
        fastrt.build(small.network, tmp_path / "m.xml", checker=write)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("m.bin", "my notes")]


def test_an_output_has_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with written_whole(tmp_path / "x") as temporary:
        temporary.write_text("")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert len(modes) == 1


def test_long_names_are_written(tmp_path: Path) -> None:
    for name in ("x" * 250, "\u4eba" * 83):
        with written_whole(tmp_path / name) as temporary:
            temporary.write_text("content")
        assert (tmp_path / name).read_text() == "content"


def test_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with written_whole(tmp_path / "x") as first:
        first.write_text("first")
        with written_whole(tmp_path / "y") as second:
            second.write_text("second")
        assert first.exists()  # it cannot be told from a leftover, and stays
    assert {file.name for file in tmp_path.iterdir()} == {"x", "y"}


def test_scratch_folders_of_killed_runs_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with scratch_folder() as folder:
        left = folder.rename(folder.with_name(".scratch.left.fastrt-part"))
        (left / "engine.bin").write_text("content")
    assert left.exists()
    with scratch_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_a_timing_cache_that_cannot_be_written_does_not_cost_the_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Config:
        def get_timing_cache(self) -> Config:
            return self

        def create_timing_cache(self, _: bytes) -> None:
            return None

        def serialize(self) -> bytes:
            return b"timings"

    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "fastrt"):
        plan._save_timing_cache(Config(), tmp_path / "file" / "timing.cache")
    assert "timing.cache: the timing cache cannot be written" in caplog.text


def test_openvino_finds_weights_that_were_cut_short(small: Small, tmp_path: Path) -> None:
    """A C++ stream reports no error if only its last buffer does not fit."""
    from fastrt.targets.openvino import target

    fastrt.build(small.network, tmp_path / "e.xml")
    os.truncate(tmp_path / "e.bin", (tmp_path / "e.bin").stat().st_size - 100)
    with pytest.raises(RuntimeError, match="the weights were cut short"):
        target._complete(tmp_path / "e.xml", ())


@pytest.mark.parametrize("name", ["up.XML", "up.ONNX", "up.NPZ", f"{'a' * 251}.xml", f"{'a' * 251}.npz"])
def test_a_name_in_capitals_or_as_long_as_files_may_have_serves(name: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / name
    for _ in range(2):
        fastrt.build(small.network, path)
    with fastrt.load(path) as session, fastrt.load(small.engine) as right:
        np.testing.assert_allclose(session(CROPS[:2]), right(CROPS[:2]), atol=1e-4)


def test_a_name_that_is_too_long_is_refused_in_one_sentence(small: Small, tmp_path: Path) -> None:
    for suffix in (".xml", ".onnx", ".npz"):
        with pytest.raises(fastrt.OutputError, match=rf"a{suffix}: cannot be written \(file name too long\)"):
            fastrt.build(small.network, tmp_path / f"{'a' * 252}{suffix}")
    for suffix in (".safetensors", ".wts"):
        with pytest.raises(fastrt.OutputError, match=rf"a{suffix}: cannot be written \(file name too long\)"):
            fastrt.save_weights(small.arrays, tmp_path / f"{'a' * 252}{suffix}", spec=fastrt.load_spec(small.config))
    for read in (fastrt.load, fastrt.load_weights, fastrt.load_spec, fastrt.read_table):
        with pytest.raises(fastrt.FastrtError, match=f"{'a' * 100}.xml: "):
            read(tmp_path / f"{'a' * 252}.xml")
    assert not list(tmp_path.iterdir())

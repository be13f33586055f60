"""The demonstration is a newcomer's first command: it works as installed, can be repeated, and spares what is there."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import fastrt
from conftest import Run
from fastrt.demo import demonstrate
from fastrt.demo.folder import filled_whole

pytestmark = pytest.mark.usefixtures("_quick")


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few people, one engine, and no measurement of its speed."""

    def measure(sessions: Iterable[str], *_: object) -> dict[str, dict[int, float]]:
        return {name: {1: 10.0, 8: 20.0} for name in sessions}

    def check(*_: object) -> fastrt.Report:
        return fastrt.Report(())

    counts = {"PEOPLE": 3, "DISTRACTORS": 2, "CALIBRATED": 4, "CALIBRATION_PEOPLE": 1, "PRECISIONS": ("fp32",)}
    for name, value in {**counts, "compare_speed": measure, "verify": check}.items():
        monkeypatch.setattr(demonstrate, name, value)
    monkeypatch.setattr(fastrt.Report, "lines", lambda _: [])


def test_it_needs_no_extra_and_names_what_it_shows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("matplotlib", "jinja2", "onnx", "onnxruntime", "cv2"):
        monkeypatch.setitem(sys.modules, package, None)
    done = run("demo", "-o", tmp_path / "demo")
    assert done.code == 0, done.err
    assert "least centred cosine to fp32" in done.out
    assert str(tmp_path / "demo" / "demo-fp32.xml") in done.out
    assert (tmp_path / "demo" / "demo-fp32.bin").exists()


@pytest.mark.parametrize("place", ["file", "file/demo", "full"])
def test_a_place_that_cannot_be_used_is_one_sentence(place: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = run("demo", "-o", tmp_path / place)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {tmp_path / place}: ")
    assert done.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("step", ["shutil.copy", "calibrate"])
def test_a_full_disk_is_one_sentence_that_names_the_folder(
    step: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"fastrt.demo.demonstrate.{step}", fail)
    done = run("demo", "-o", tmp_path / "demo")
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1].lower()
    assert last.startswith(f"error: {tmp_path / 'demo'}: cannot be written (no space left on device)".lower())
    assert not list(tmp_path.iterdir())


def test_it_can_be_repeated_after_ctrl_c(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demonstrate, "calibrate", interrupt)
        done = run("demo", "-o", tmp_path / "new" / "demo")
    assert (done.code, done.out) == (130, "")
    assert "error" not in done.err
    assert not (tmp_path / "new" / "demo").exists()
    done = run("demo", "-o", tmp_path / "new" / "demo", "--json")
    assert done.code == 0, done.err
    assert [Path(row["engine"]).exists() for row in json.loads(done.out)["engines"]] == [True]


def test_what_a_killed_run_left_is_no_obstacle_but_what_a_user_left_is(tmp_path: Path) -> None:
    with filled_whole(tmp_path) as folder:
        leftover = folder.with_name(f"{folder.name.removesuffix('.fastrt-part')}x.fastrt-part")
        shutil.copytree(folder, leftover)
    assert leftover.exists()
    with filled_whole(tmp_path) as folder:
        (folder / "result.txt").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]
    with (
        pytest.raises(fastrt.OutputError, match="is not empty; expected an empty or a new folder"),
        filled_whole(tmp_path),
    ):
        pass
    assert (tmp_path / "result.txt").read_text() == "whole"


@pytest.mark.parametrize("name", [".unfinished.thesis", "thesis.fastrt-part", ".hidden", ".fastrt-part"])
def test_a_folder_that_it_did_not_make_is_never_deleted(name: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "chapter.txt").write_text("mine")
    done = run("demo", "-o", tmp_path)
    assert done.code == 2
    assert done.err == f"error: {tmp_path}: is not empty; expected an empty or a new folder. Name another one.\n"
    assert (tmp_path / name / "chapter.txt").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no locks there")
def test_two_at_once_do_not_fill_one_folder(tmp_path: Path) -> None:
    with filled_whole(tmp_path / "demo") as first:
        (first / "result.txt").write_text("first")
        with (
            pytest.raises(fastrt.OutputError, match="demo: in use by another process"),
            filled_whole(tmp_path / "demo"),
        ):
            pass
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["result.txt"]


def test_an_error_names_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    with (
        pytest.raises(fastrt.EngineError, match=f"^{tmp_path}/demo/e.xml: bad$"),
        filled_whole(tmp_path / "demo") as new,
    ):
        raise fastrt.EngineError(f"{new}/e.xml: bad")
    assert not (tmp_path / "demo").exists()

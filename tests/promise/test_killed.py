"""A run that is killed leaves the old files or the new ones.

``ROUNDS=50 pytest tests/promise/test_killed.py`` kills each of the 50 rounds at another moment.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import fastrt
from conftest import Small
from fastrt.datasets.synthetic import write_synthetic
from fastrt.files import PART, WHOLE, finish_interrupted
from fastrt.testing.untrained import draw_weights

ROUNDS = int(os.environ.get("ROUNDS", "2"))

COMMAND = "import sys; from fastrt.cli import main; print(flush=True); main(sys.argv[1:])"

KILLED_AT = """
import os, pathlib, signal, sys, types

package = sys.modules["fastrt"] = types.ModuleType("fastrt")  # without the imports of the whole package
package.__path__ = [sys.argv[3]]
from fastrt.files import written_whole

def kill_before(name):
    move = getattr(pathlib.Path, name)
    def replacement(*words):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return move(*words)
    setattr(pathlib.Path, name, replacement)

left, path = int(sys.argv[1]), pathlib.Path(sys.argv[2])
kill_before("replace")
kill_before("rename")
with written_whole(path) as temporary:
    for suffix in (".a", ".b", ".c"):
        temporary.with_suffix(suffix).write_text("new")
if left == 0:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Job:
    """A command, its output, and the words by which the old and the new files are made."""

    output: str
    old: tuple[object, ...]
    new: tuple[object, ...]


@pytest.fixture(scope="module")
def jobs(small: Small, tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    folder = tmp_path_factory.mktemp("killed")
    other, engine = folder / "other.pth", folder / "other.xml"
    spec = fastrt.load_spec(small.config)
    arrays = draw_weights(spec, seed=1)
    fastrt.save_weights(arrays, other)
    fastrt.build(fastrt.build_network(spec, arrays), engine)
    write_synthetic(folder / "people", train=4, test=4, distractors=2)
    images = folder / "people" / "bounding_box_train"
    config, evaluated = ("--config", small.config), ("--dataset", "synthetic", "--root", folder / "people")
    calibrated = (*config, "--images", images, "--count", "8")
    return [
        Job("e.xml", ("build", small.checkpoint, *config), ("build", other, *config)),
        Job("e.npy", ("embed", small.engine, images), ("embed", "--restart", engine, images)),
        Job("report", (), ("evaluate", engine, *evaluated)),
        Job("t.json", ("calibrate", small.checkpoint, *calibrated), ("calibrate", other, *calibrated)),
        Job("m.pth", ("convert", small.checkpoint), ("convert", other)),
    ]


def _words(words: tuple[object, ...], output: Path) -> list[str]:
    option = {"convert": (), "evaluate": ("--report",)}.get(str(words[0]), ("-o",))
    return [sys.executable, "-c", COMMAND, *map(str, (*words, *option, output))]


def _read(folder: Path) -> dict[str, bytes]:
    """Read the files of a folder, but for those of an unfinished run."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.startswith(".") and path.suffix not in (".part", ".journal")
    }


def _write(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_a_killed_command_leaves_the_old_files_or_the_new(jobs: list[Job], tmp_path: Path) -> None:
    dice, folder = random.Random(ROUNDS), tmp_path / "outputs"
    for i, job in enumerate(jobs[:ROUNDS]):
        ended = {"old": 0, "new": 0}
        folder.mkdir()
        if job.old:
            subprocess.run(_words(job.old, folder / job.output), check=True, capture_output=True)
        old = _read(folder)
        start = time.monotonic()
        subprocess.run(_words(job.new, folder / job.output), check=True, capture_output=True)
        seconds, new = time.monotonic() - start, _read(folder)
        assert new
        assert old != new
        _write(folder, old)
        for _ in range(i, ROUNDS, len(jobs)):
            with subprocess.Popen(_words(job.new, folder / job.output), stdout=subprocess.PIPE, stderr=-3) as child:
                assert child.stdout
                child.stdout.readline()  # the modules are imported
                time.sleep(dice.uniform(0, seconds))
                child.send_signal(signal.SIGKILL)
            finish_interrupted(folder / job.output)
            found = _read(folder)
            assert set(found) in (set(old), set(new)), job
            assert found == old or found.keys() == new.keys(), job
            if job.output != "report":  # its plots may differ by a date
                assert found in (old, new), job
            ended["old" if found == old else "new"] += 1
            if found != old:
                _write(folder, old)
        subprocess.run(_words(job.new, folder / job.output), check=True, capture_output=True)
        assert _read(folder).keys() == new.keys()
        assert not list(folder.glob(f".*{PART}"))
        assert not list(folder.glob(f".*{WHOLE}"))
        shutil.rmtree(folder)
        print(f"{job.output}: {ended}", flush=True)  # noqa: T201


def _kill_before_move(moves: int, path: Path) -> None:
    words = [sys.executable, "-c", KILLED_AT, str(moves), str(path), str(Path(fastrt.__file__).parent)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("moves", range(5))
def test_files_that_belong_together_are_never_mixed(moves: int, tmp_path: Path) -> None:
    """The process is killed before each of its renames: one of the folder, and one of each file."""
    path = tmp_path / "x.a"
    for suffix in (".a", ".b", ".c"):
        path.with_suffix(suffix).write_text("old")
    _kill_before_move(moves, path)
    finish_interrupted(path)
    states = {path.with_suffix(suffix).read_text() for suffix in (".a", ".b", ".c")}
    assert states == ({"old"} if moves == 0 else {"new"})
    with fastrt.files.written_whole(tmp_path / "y") as temporary:
        temporary.write_text("another output in this folder")
    assert {file.name for file in tmp_path.iterdir()} == {"x.a", "x.b", "x.c", "y"}


def test_an_interrupted_replacement_spares_files_that_are_newer(tmp_path: Path) -> None:
    path = tmp_path / "x.a"
    _kill_before_move(1, path)
    assert not path.exists()
    time.sleep(0.02)
    path.write_text("the user's own")
    finish_interrupted(path)
    assert path.read_text() == "the user's own"
    assert [file.name for file in tmp_path.iterdir()] == ["x.a"]


def test_a_running_process_keeps_its_temporary_folder(tmp_path: Path) -> None:
    with fastrt.files.written_whole(tmp_path / "x") as first, fastrt.files.written_whole(tmp_path / "x") as second:
        first.write_text("first")
        second.write_text("second")
        with fastrt.files.written_whole(tmp_path / "z") as third:
            third.write_text("third")
        assert first.read_text() == "first"
    assert (tmp_path / "x").read_text() == "first"
    assert {file.name for file in tmp_path.iterdir()} == {"x", "z"}

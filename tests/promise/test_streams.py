"""Standard streams may be closed, and what a library warns of is a note like any other."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import fastrt
from colour_engine import open_session, paint
from conftest import Run
from fastrt.cli import main

CALL = """
import sys
import fastrt.cli.{verb}
from colour_engine import open_session
fastrt.cli.{verb}.load = open_session
from fastrt.cli import main
main({words!r})
"""


def call(place: Path, streams: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    program = CALL.format(verb=words[0], words=list(words))
    paths = [str(Path(__file__).parents[1]), str(Path(fastrt.__file__).parents[1])]
    program = f"import sys; sys.path[:0] = {paths}\n{program}"
    shell = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-c", program]
    return subprocess.run(shell, cwd=place, capture_output=True, timeout=120)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with crops, and engines of colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastrt.cli.embed.load", open_session)
    paint(tmp_path / "crops", {"1.png": (1, 2, 3), "2.png": (3, 2, 1)})
    (tmp_path / "e.npz").write_text("colours")
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_result(streams: str, place: Path) -> None:
    done = call(place, streams, "embed", "e.npz", "crops", "--json")
    assert (done.returncode, b"error" in done.stderr) == (0, False)
    assert {path.name for path in place.glob("embeddings.*")} == {f"embeddings.{end}" for end in ("npy", "json", "csv")}
    assert Path("embeddings.npy").read_bytes().startswith(b"\x93NUMPY")  # and nothing was printed into a file
    done = call(place, streams, "match", "crops", "crops", "--engine", "e.npz", "--json")
    assert done.returncode == 0
    assert (">&-" in streams.replace("2>&-", "")) == (done.stdout == b"")
    if done.stdout:
        assert json.loads(done.stdout)["gallery"] == 2
    assert call(place, streams, "embed", "nothing.npz", "nowhere").returncode == 2


def _save_with_broken_exif(path: Path) -> None:
    PIL.Image.new("RGB", (8, 8), "blue").save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01")


@pytest.mark.filterwarnings("always")
def test_warnings_of_pillow_are_notes(run: Run, place: Path) -> None:
    _save_with_broken_exif(place / "crops" / "3.jpg")
    shown = warnings.showwarning
    done = run("embed", "e.npz", "crops")
    notes = [line for line in done.err.splitlines() if "EXIF" in line]
    assert done.code == 0
    assert len(notes) == 1
    assert notes[0].startswith("note: Corrupt EXIF data.")
    assert ".py" not in done.err
    strict = run("embed", "e.npz", "crops", "-o", "strict.npy", "--strict")
    assert (strict.code, "error: Corrupt EXIF data." in strict.err) == (2, True)
    assert not Path("strict.npy").exists()
    assert warnings.showwarning is shown


@pytest.mark.filterwarnings("always")
def test_too_many_pixels_are_said_once(run: Run, place: Path) -> None:
    PIL.Image.new("1", (10000, 10000)).save(place / "crops" / "4.png")
    done = run("embed", "e.npz", "crops")
    assert done.code == 1
    assert done.err.count("pixels") == done.err.count("too many pixels; expected at most") >= 1


def test_libtiff_prints_nothing_of_its_own(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = place / "crops" / "3.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(path, compression="tiff_lzw")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(200) + content[len(content) // 2 + 200 :])
    with pytest.raises(SystemExit):
        main(["embed", "e.npz", "crops"])
    printed = capfd.readouterr().err
    assert "3.tif: cannot be decoded" in printed
    assert "LZWDecode" not in printed

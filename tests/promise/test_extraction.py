"""Embeddings on disk belong to one engine and one list of files, are finite, and survive a kill."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

import fastrt
from colour_engine import INFO, open_session, paint
from conftest import Run, Small
from fastrt.extraction import Store, embed_files, find_images, stream_embeddings

COLOURS = {f"{i}.png": (50 + 20 * i, 200 - 10 * i, 3 * i) for i in range(9)}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with crops and two engines of colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastrt.cli.embed.load", open_session)
    paint(tmp_path / "crops", COLOURS)
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).write_text(name)
    return tmp_path


def interrupt(output: str, *, engine: str = "a.npz", after: int = 2) -> None:
    """Embed the crops, interrupted after some batches."""
    images = sorted(Path("crops").iterdir())
    with open_session() as session, Store(output, INFO, images, engine=engine) as store:
        for piece, _ in zip(stream_embeddings(session, images), range(after), strict=False):
            store.append(piece)


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def touch_later(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


OTHERS = {
    "another engine": (("b.npz", "crops"), r"of another engine \(a\.npz, reference fp32\)"),
    "another device": (("a.npz", "crops", "--device", "gpu"), r"of another device \(cpu\)"),
    "fewer files": (("a.npz", "crops/[0-4].png"), r"of another list of files \(9 files, first crops/0\.png\)"),
    "another order": (("a.npz", "crops/8.png", "crops"), "of another list of files"),
    "a changed file": (("a.npz", "crops"), "of the same files before they changed"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_an_unfinished_job_is_not_resumed_or_cut_by_another(kind: str, run: Run, place: Path) -> None:
    interrupt("e.npy")
    if kind == "a changed file":
        touch_later(place / "crops" / "8.png")
    before = read_all(place)
    words, sentence = OTHERS[kind]
    done = run("embed", *words, "-o", "e.npy")
    assert done.code == 2
    assert re.search(f"error: e.npy.journal: unfinished embeddings {sentence}", done.err)
    assert read_all(place) == before
    again = run("embed", *words, "-o", "e.npy", "--restart")
    assert again.code == 0, again.err
    assert len(np.load("e.npy")) == (5 if kind == "fewer files" else 9)
    assert not list(place.glob("*.journal")) + list(place.glob("*.part"))


def test_a_named_output_is_replaced_but_never_an_input(run: Run, place: Path) -> None:
    assert run("embed", "a.npz", "crops", "-o", "e.npy").code == 0
    assert run("embed", "b.npz", "crops/0.png", "-o", "e.npy").code == 0
    assert len(np.load("e.npy")) == 1
    before = read_all(place)
    done = run("embed", "a.npz", "crops/0.png", "e.npy", "-o", "e.npy")
    assert done.code == 2
    assert "e.npy: is the input e.npy; expected another file" in done.err
    assert read_all(place) == before


def test_the_same_job_resumes_whatever_the_batch(run: Run, place: Path) -> None:
    interrupt("e.npy")
    (place / "copy.npz").write_bytes((place / "a.npz").read_bytes())  # the same engine under another name
    done = run("embed", "copy.npz", "crops", "-o", "e.npy", "--batch", 3, "--device", "cpu")
    assert done.code == 0, done.err
    assert "resuming an interrupted job: 4 of 9 images are done" in done.err
    with open_session() as session:
        whole = session.embed_files(sorted(Path("crops").iterdir()))
    np.testing.assert_array_equal(np.load("e.npy"), whole.embeddings)
    assert json.loads(Path("e.json").read_text())["images"] == [f"crops/{name}" for name in COLOURS]


@pytest.mark.parametrize("words", [(), ("--restart",)], ids=["", "restart"])
@pytest.mark.parametrize("name", ["e.json", "e.csv", "e.npy.part", "e.npy.journal"])
def test_a_file_of_someone_else_is_never_replaced(name: str, words: tuple[str, ...], run: Run, place: Path) -> None:
    (place / name).write_bytes(b"path,pid,camid,split\nmine")
    before = read_all(place)
    done = run("embed", "a.npz", "crops", "-o", "e.npy", *words)
    assert done.code == 2
    assert f"{name}: exists, and " in done.err
    assert read_all(place) == before
    with open_session() as session:
        embedded = embed_files(session, [place / "crops" / "0.png"])
        if name in ("e.json", "e.csv"):
            with pytest.raises(fastrt.OutputError, match="was not written by fastrt embed"):
                fastrt.extraction.save_embeddings(embedded, "e.npy", INFO)


@pytest.mark.parametrize("name", ["e.json", "e.csv"])
def test_a_file_that_appears_during_a_job_is_not_replaced(name: str, place: Path) -> None:
    images = sorted(Path("crops").iterdir())
    with open_session() as session, Store("e.npy", INFO, images, engine="a.npz") as store:
        for piece in stream_embeddings(session, images):
            store.append(piece)
        (place / name).write_text("my labels")
        with pytest.raises(fastrt.OutputError, match=f"{name}: exists, and was not written by fastrt embed"):
            store.finish()
    assert (place / name).read_text() == "my labels"
    (place / name).unlink()
    with Store("e.npy", INFO, images, engine="a.npz") as store:
        assert store.files == len(images)
        store.finish()
    assert len(np.load("e.npy")) == len(images)


def test_an_output_that_nobody_named_is_not_replaced_if_it_appears_during_the_job(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*words: Any) -> Any:
        (place / "embeddings.npy").write_text("mine")
        return stream_embeddings(*words)

    monkeypatch.setattr("fastrt.cli.embed.stream_embeddings", write)
    done = run("embed", "a.npz", "crops")
    assert done.code == 2
    assert "embeddings.npy: exists, and was not written by fastrt embed" in done.err
    assert (place / "embeddings.npy").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="files are locked differently there")
def test_two_processes_do_not_write_one_output(place: Path) -> None:
    images = sorted(Path("crops").iterdir())
    with Store("e.npy", INFO, images), pytest.raises(fastrt.OutputError, match="in use by another process"):
        Store("e.npy", INFO, images)


@pytest.mark.parametrize("name", ["e.json", "e.npy.part", "e.npy.journal"])
def test_an_output_that_cannot_be_written_is_named(name: str, run: Run, place: Path) -> None:
    interrupt("e.npy")
    (place / name).unlink(missing_ok=True)
    (place / name).mkdir()
    done = run("embed", "a.npz", "crops", "-o", "e.npy")
    assert done.code == 2
    assert done.err.startswith(f"error: {name}: exists" if name == "e.json" else "error: e.npy: cannot be written (")


@pytest.mark.parametrize("what", ["row", "line", "header of a row file"])
def test_damaged_batches_are_embedded_again_and_it_is_said(what: str, place: Path, run: Run) -> None:
    interrupt("e.npy", after=4)
    if what == "line":
        lines = Path("e.npy.journal").read_bytes().split(b"\n")
        lines[2] = lines[2][:-3]
        Path("e.npy.journal").write_bytes(b"\n".join(lines))
    else:
        rows = bytearray(Path("e.npy.part").read_bytes())
        rows[128 + 2 * 12 if what == "row" else 0] ^= 1
        Path("e.npy.part").write_bytes(rows)
    done = run("embed", "a.npz", "crops", "-o", "e.npy")
    assert done.code == 0
    assert ("e.npy.journal: damaged after 2 of 9 images; the others are embedded again" in done.err) == (
        what != "header of a row file"
    )
    with open_session() as session:
        whole = session.embed_files(sorted(Path("crops").iterdir()))
    np.testing.assert_array_equal(np.load("e.npy"), whole.embeddings)


def test_a_job_whose_end_fails_can_be_resumed(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("fastrt.extraction.outputs.Path.write_bytes", fail)
        done = run("embed", "a.npz", "crops", "-o", "e.npy")
    assert done.code == 2
    assert "e.npy: cannot be written (no space left on device)" in done.err
    assert {path.name for path in place.glob("*e.*")} == {"e.npy.part", "e.npy.journal"}
    monkeypatch.setattr("fastrt.cli.embed.stream_embeddings", lambda _, paths: iter(paths))
    assert run("embed", "a.npz", "crops", "-o", "e.npy").code == 0
    assert len(np.load("e.npy")) == 9


KILLED = """
import json, os, signal, sys
from pathlib import Path

import numpy as np
from colour_engine import INFO, open_session
from fastrt.extraction import Store, stream_embeddings
from fastrt.files import finish_interrupted

images = sorted(Path("crops").iterdir())
whole = open_session().embed_files(images).embeddings


def embed(restart):
    with open_session() as session, Store("e.npy", INFO, images, restart=restart) as store:
        for piece in stream_embeddings(session, images[store.files:]):
            store.append(piece)
        store.finish()


def kill_after(lines):
    def trace(frame, event, _):
        nonlocal lines
        if "extraction" not in frame.f_code.co_filename:
            return None
        lines -= event == "line"
        if lines < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)


def run(restart, lines):
    child = os.fork()
    if not child:
        if lines is not None:
            kill_after(lines)
        embed(restart)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def check():
    np.testing.assert_array_equal(np.load("e.npy"), whole)
    assert json.loads(Path("e.json").read_text())["images"] == list(map(str, images))
    assert Path("e.csv").read_text().count("crops") == len(images)


lines, step, killed = int(sys.argv[1]), int(sys.argv[2]), 0
status = 1
while status:
    for path in Path().glob("*e.*"):
        if killed % 2 and path.is_file():
            path.unlink()
    print("killed after", lines, "lines", file=sys.stderr)
    status = run(killed % 4 == 0, lines)
    assert status in (0, signal.SIGKILL), status
    finish_interrupted(Path("e.npy"))
    if Path("e.npy").exists():
        check()
    assert run(False, None) == 0
    check()
    assert sorted(path.name for path in Path().glob("*e.*")) == ["e.csv", "e.json", "e.npy"]
    lines, killed = lines + step, killed + 1
print(killed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_job_that_is_killed_at_any_line_leaves_the_old_the_new_or_what_it_resumes(place: Path) -> None:
    """With a step of 1 instead of 37, it is killed at each line."""
    words = [sys.executable, "-c", KILLED, str(os.getpid() % 37), os.environ.get("FASTRT_KILL_STEP", "37")]
    path = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_an_embedding_that_is_not_finite_has_no_row(run: Run, place: Path) -> None:
    paint(place / "crops", {"3.png": (0, 0, 0)})
    Path("crops/5.png").write_bytes(b"nothing")
    interrupt("e.npy", after=3)  # the reasons stand in the journal
    done = run("embed", "a.npz", "crops", "-o", "e.npy")
    assert done.code == 1
    assert "note: 1 of 9 images could not be read:" in done.err
    assert "note: 1 of 9 images have no finite embedding:" in done.err
    assert "note: crops/3.png: the engine returns NaN or infinity; expected finite numbers." in done.err
    rows = np.load("e.npy")
    assert rows.shape == (7, 3)
    assert np.isfinite(rows).all()
    content = json.loads(Path("e.json").read_text())
    assert [entry["image"] for entry in content["unreadable"]] == ["crops/3.png", "crops/5.png"]
    with open_session() as session:
        for row, image in zip(rows, content["images"], strict=True):
            np.testing.assert_array_equal(row, session([fastrt.read_image(image)])[0])


def test_an_engine_without_any_finite_embedding_fails(run: Run, place: Path) -> None:
    paint(place / "crops", dict.fromkeys(COLOURS, (0, 0, 0)))
    done = run("embed", "a.npz", "crops", "-o", "e.npy", "--json")
    assert done.code == 1
    assert all(f"note: crops/{name}: the engine returns NaN" in done.err for name in COLOURS)
    assert json.loads(done.out)["embeddings"] == len(np.load("e.npy")) == 0


def test_files_named_twice_keep_their_rows(place: Path) -> None:
    Path("crops/1.png").write_bytes(b"nothing")
    images = [Path(f"crops/{i}.png") for i in (1, 1, 0, 2, 1, 0)]
    with open_session() as session, Store("e.npy", INFO, images) as store:
        for piece in stream_embeddings(session, images):
            store.append(piece)
        names, _ = store.finish()
        assert json.loads(names.read_text())["images"] == ["crops/0.png", "crops/2.png", "crops/0.png"]
        np.testing.assert_array_equal(np.load("e.npy"), session.embed_files(images).embeddings)


def state_of_the_process() -> dict[str, object]:
    opencv = sys.modules.get("cv2")
    return {
        "warnings": (list(warnings.filters), warnings.showwarning),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "opencv": opencv and opencv.getNumThreads(),
        "pillow": (PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES, PIL.ImageFile.MAXBLOCK),
        "numpy": np.geterr(),
        "logging": [(log.level, list(log.handlers)) for log in (logging.getLogger(), logging.getLogger("fastrt"))],
        "threads": threading.active_count(),
        "streams": (sys.stdout, sys.stderr),
    }


def test_threads_that_embed_change_nothing_of_the_process(small: Small, tmp_path: Path) -> None:
    paths = paint(tmp_path, COLOURS)
    PIL.Image.new("P", (4, 8)).save(tmp_path / "palette.png", transparency=b"\0\1")  # Pillow warns of it
    paths += [tmp_path / "palette.png", tmp_path / "missing.png"]
    fastrt.build(small.network, tmp_path / "opencv.xml", resampler="cv2-cubic")
    with fastrt.load(small.engine, batch=2) as session, fastrt.load(tmp_path / "opencv.xml", batch=2) as opencv:
        opencv.embed_files(paths)
        session.embed_files(paths)  # libraries set themselves up at their first use
        before = state_of_the_process()
        for _ in range(5):
            with ThreadPoolExecutor(8) as pool:
                done = list(pool.map(lambda one: one.embed_files(paths), 4 * [session, opencv]))
            assert state_of_the_process() == before
    assert all(len(embedded.paths) == 10 for embedded in done)


def test_a_session_embeds_files_as_it_embeds_arrays(small: Small, tmp_path: Path) -> None:
    paths = [str(path) for path in paint(tmp_path, COLOURS)]
    Path(paths[4]).write_bytes(b"nothing")
    advanced: list[int] = []
    with fastrt.load(small.engine, batch=2) as session:
        embedded = session.embed_files((path for path in paths), advanced.append)
        want = session([fastrt.read_image(path) for path in paths if path != paths[4]])
        mirrored = session.embed_files(paths[:1], mirrored=True).embeddings
        np.testing.assert_allclose(mirrored, session([fastrt.read_image(paths[0])[:, ::-1]]), atol=2e-5)
    np.testing.assert_allclose(embedded.embeddings, want, atol=2e-5)
    assert embedded.embeddings.dtype == np.float32
    assert [str(path) for path in embedded.paths] == [path for path in paths if path != paths[4]]
    assert [str(path) for path, _ in embedded.unreadable] == [paths[4]]
    assert sum(advanced) == 9


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ("crops", r"^paths: str; expected a list of image files. Give \[path\]."),
        (Path("crops"), r"^paths: PosixPath; expected a list of image files. Give \[path\]."),
        (None, "^paths: NoneType; expected a list of image files."),
        ([np.zeros((4, 4, 3), np.uint8)], r"^path 0: ndarray; expected the path of an image file. Give arrays to"),
        (["crops/0.png", None], "^path 1: NoneType; expected the path of an image file."),
        ([], "^embed: 0 of 0 images could be read; expected at least 1."),
    ],
)
def test_what_is_no_list_of_files_is_refused(paths: object, message: str, place: Path) -> None:
    with open_session() as session, pytest.raises(fastrt.ImageError, match=message):
        session.embed_files(paths)  # type: ignore[arg-type]


def test_a_file_is_found_once_whatever_its_spelling(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("link").symlink_to("crops")
    spellings: list[str | Path] = [
        "crops/0.png",
        place / "crops" / "0.png",
        "./crops/0.png",
        "crops/../crops/0.png",
        "link/0.png",
    ]
    assert find_images(spellings).images == (Path("crops/0.png"),)
    for more in (place / "crops", "crops/", "link", place / "crops" / "*.png", "crops/../crops", "l*k/0.png"):
        assert len(find_images(["crops", more]).images) == len(COLOURS), more
    monkeypatch.chdir("crops")
    assert find_images(["0.png", ".", "../crops", place / "crops"]).images[0] == Path("0.png")
    assert len(find_images(["0.png", ".", "../crops", place / "crops"]).images) == len(COLOURS)
    monkeypatch.chdir(place)
    done = run("embed", "a.npz", "crops", place / "crops" / "3.png", "-o", "e.npy")
    assert done.code == 0, done.err
    assert len(np.load("e.npy")) == len(COLOURS)


def test_links_with_other_names_and_equal_names_in_other_folders_are_files_of_their_own(place: Path) -> None:
    Path("crops/link.png").symlink_to("0.png")
    paint(place / "more", {"0.png": (1, 2, 3)})
    assert len(find_images(["crops"]).images) == len(COLOURS) + 1
    assert find_images(["crops/0.png", "more/0.png", "crops/link.png"]).images == (
        Path("crops/0.png"),
        Path("more/0.png"),
        Path("crops/link.png"),
    )


def test_a_file_that_is_left_out_is_counted_once(place: Path) -> None:
    Path("crops/notes.txt").touch()
    assert find_images(["crops", place / "crops"]).passed_over == (Path("crops/notes.txt"),)
    assert find_images(["crops", place / "crops" / "notes.txt"]).passed_over == ()

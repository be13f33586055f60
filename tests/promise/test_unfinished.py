"""An unfinished job of embeddings keeps what is done, tries again what failed, and spares the files of others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import fastrt
from colour_engine import INFO, open_session, paint
from conftest import Run
from fastrt.extraction import Store, stream_embeddings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with crops and an engine of colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastrt.cli.embed.load", open_session)
    paint(tmp_path / "crops", {f"{i}.png": (50 + 20 * i, 200 - 10 * i, 3 * i) for i in range(9)})
    (tmp_path / "a.npz").write_text("a.npz")
    return tmp_path


def interrupt(output: str, after: int) -> None:
    """Embed the crops, interrupted after some batches."""
    images = sorted(Path("crops").iterdir())
    with open_session() as session, Store(output, INFO, images, engine="a.npz") as store:
        for piece, _ in zip(stream_embeddings(session, images), range(after), strict=False):
            store.append(piece)


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "text", ['{"mine": 1}\n', '{"job": "baker"}\n{}\n', '{"job": {"title": "baker"}}\n', "[]\n", "a\n"]
)
def test_a_journal_of_someone_else_is_never_deleted(text: str, run: Run, place: Path) -> None:
    for name in ("e.npy.journal", "e.npy.part"):
        (place / name).write_text(text)
    before = read_all(place)
    for words in ((), ("--restart",)):
        done = run("embed", "a.npz", "crops", "-o", "e.npy", *words)
        assert done.code == 2
        assert "e.npy.journal: exists, and is not an unfinished job of fastrt embed" in done.err
        assert read_all(place) == before


def test_an_output_that_nobody_named_replaces_only_embeddings(run: Run, place: Path) -> None:
    np.save("embeddings.npy", np.eye(9))
    for names in ({}, {"images": [], "unreadable": [], "engine": {"embedding_dim": 9}}):
        if names:
            Path("embeddings.json").write_text(json.dumps(names))
        before = read_all(place)
        done = run("embed", "a.npz", "crops")
        assert done.code == 2
        assert "embeddings.npy: exists, and was not written by fastrt embed; expected no other file" in done.err
        assert read_all(place) == before
    assert run("embed", "a.npz", "crops", "-o", "embeddings.npy").code == 0
    assert run("embed", "a.npz", "crops/0.png").code == 0
    assert np.load("embeddings.npy").shape == (1, 3)


def test_a_file_that_can_be_read_again_has_its_row_after_a_resume(run: Run, place: Path) -> None:
    path = place / "crops" / "5.png"
    content, time = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(bytes(len(content)))
    os.utime(path, ns=(time, time))
    interrupt("e.npy", after=4)
    done = run("embed", "a.npz", "crops", "-o", "e.npy")
    assert (done.code, len(np.load("e.npy"))) == (1, 8)  # still damaged
    interrupt("e.npy", after=4)
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    done = run("embed", "a.npz", "crops", "-o", "e.npy")
    assert done.code == 0, done.err
    assert "note: crops/5.png: can be read now; the images from here on are embedded again" in done.err
    with open_session() as session:
        np.testing.assert_array_equal(np.load("e.npy"), session.embed_files(sorted(Path("crops").iterdir())).embeddings)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", ["_rows_file", "_journal"])
def test_a_full_disk_names_the_output(name: str, place: Path) -> None:
    images = sorted(Path("crops").iterdir())

    def embed() -> None:
        with open_session() as session, Store("e.npy", INFO, images) as store:
            target, key = (store, name) if name == "_rows_file" else (store._journal, "_file")
            getattr(target, key).close()
            setattr(target, key, Path("/dev/full").open("wb"))  # noqa: SIM115
            for piece in stream_embeddings(session, images):
                store.append(piece)

    with pytest.raises(fastrt.OutputError, match=r"^e\.npy: cannot be written \(no space left on device\)"):
        embed()

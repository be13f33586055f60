from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Small
from fastrt.extraction import Store, embed_files, find_images, save_embeddings, stream_embeddings
from fastrt.images.drawing import draw_person


def _draw(folder: Path, *names: str) -> list[Path]:
    paths = []
    for i, name in enumerate(names):
        paths.append(folder / name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(draw_person(i, 0, 70, 35)[..., ::-1]).save(paths[-1])
    return paths


def test_files_folders_and_patterns_give_each_image_once(tmp_path: Path) -> None:
    one, two, three = _draw(tmp_path, "b.png", "a/deep/two.JPG", "a/three.bmp")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"\0")
    (tmp_path / "a" / ".hidden.png").write_bytes(b"\0")
    found = find_images([one, tmp_path / "a", tmp_path / "*.png", tmp_path / "**" / "*.bmp"])
    assert found.images == (one, two, three)
    assert found.passed_over == (tmp_path / "a" / "Thumbs.db",)


def test_a_named_file_may_have_any_suffix(tmp_path: Path) -> None:
    (odd,) = _draw(tmp_path, "person.png")
    odd = odd.rename(tmp_path / "person.of_interest")
    assert find_images([odd]).images == (odd,)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere", "{}: does not exist; expected an image, a folder or a pattern."),
        ("*.png", "{}: the pattern matches nothing;"),
        ("empty", "no images in {}; expected files named ."),
    ],
)
def test_a_path_without_images_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(fastrt.ImageError) as caught:
        find_images([tmp_path / name])
    assert str(caught.value).startswith(sentence.format(tmp_path / name))


def test_embeddings_and_names_correspond_despite_unreadable_files(small: Small, tmp_path: Path) -> None:
    paths = _draw(tmp_path, *(f"{i}.png" for i in range(9)))
    for broken in (0, 4, 5):
        paths[broken].write_bytes(paths[broken].read_bytes()[:50])
    advanced: list[int] = []
    with fastrt.load(small.engine, batch=2) as session:
        embedded = embed_files(session, paths, advanced.append)
        for row, path in zip(embedded.embeddings, embedded.paths, strict=True):
            np.testing.assert_allclose(row, session([fastrt.read_image(path)])[0], atol=2e-5)
        names, table = save_embeddings(embedded, tmp_path / "out.npy", session.info)
    assert sum(advanced) == 9
    assert [path.stem for path in embedded.paths] == ["1", "2", "3", "6", "7", "8"]
    assert [path.stem for path, _ in embedded.unreadable] == ["0", "4", "5"]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), embedded.embeddings)
    content = json.loads(names.read_text())
    assert content["images"] == [str(path) for path in embedded.paths]
    assert [entry["image"] for entry in content["unreadable"]] == [str(paths[i]) for i in (0, 4, 5)]
    assert content["engine"]["fingerprint"] == small.network.fingerprint()
    with table.open(newline="") as file:
        assert list(csv.reader(file))[1] == ["0", str(paths[1])]


def test_no_readable_file_is_an_error(small: Small, tmp_path: Path) -> None:
    (path,) = _draw(tmp_path, "a.png")
    path.write_bytes(b"nothing")
    with (
        fastrt.load(small.engine) as session,
        pytest.raises(fastrt.ImageError, match=r"^embed: 0 of 1 images could be read"),
    ):
        embed_files(session, [path])


def test_embeddings_are_written_as_npy_only(small: Small, tmp_path: Path) -> None:
    paths = _draw(tmp_path, "a.png")
    with fastrt.load(small.engine) as session:
        embedded = embed_files(session, paths)
        with pytest.raises(fastrt.OutputError, match=r"suffix \.csv; expected \.npy"):
            save_embeddings(embedded, tmp_path / "out.csv", session.info)
        with pytest.raises(fastrt.OutputError, match="nowhere does not exist"):
            save_embeddings(embedded, tmp_path / "nowhere" / "out.npy", session.info)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png"}


def _embed(
    session: fastrt.Session, output: Path, paths: list[Path], stop_after: int | None = None, *, restart: bool = False
) -> list[int]:
    """Embed to a file, interrupted after ``stop_after`` batches. Returns the index of each batch's first file."""
    begun = []
    with Store(output, session.info, paths, restart=restart) as store:
        for piece in stream_embeddings(session, paths[store.files :]):
            begun.append(store.files)
            store.append(piece)
            if len(begun) == stop_after:
                return begun
        store.finish()
    return begun


def test_an_interrupted_job_resumes_without_losing_or_repeating_an_image(small: Small, tmp_path: Path) -> None:
    paths = _draw(tmp_path / "crops", *(f"{i}.png" for i in range(11)))
    for broken in (1, 6, 10):
        paths[broken].write_bytes(b"nothing")
    output = tmp_path / "out.npy"
    with fastrt.load(small.engine, batch=2) as session:
        whole = embed_files(session, paths)
        assert _embed(session, output, paths, stop_after=2) == [0, 3]
        assert not output.exists()
        # The host stopped while writing rows and a line of the journal.
        with (tmp_path / "out.npy.part").open("ab") as file:
            file.write(b"torn")
        with (tmp_path / "out.npy.journal").open("a") as file:
            file.write('{"rows": 2, "unr')
        with (tmp_path / "out.npy.journal").open("ab") as file:
            file.write(b"\xff\n")
        assert _embed(session, output, paths) == [5, 8, 10]
    np.testing.assert_allclose(np.load(output), whole.embeddings, atol=2e-5)
    content = json.loads(output.with_suffix(".json").read_text())
    assert content["images"] == [str(path) for path in whole.paths]
    assert [entry["image"] for entry in content["unreadable"]] == [str(paths[i]) for i in (1, 6, 10)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "out.csv", "out.json", "out.npy"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are always Unicode")
def test_names_that_are_not_utf8_are_escaped(small: Small, tmp_path: Path) -> None:
    """Archives from systems with another encoding contain such names."""
    names = [os.fsdecode(b"\xd6\xd0.png"), "\u4e2d.png", os.fsdecode(b"\xb9\xfa.png")]
    paths = [
        image.rename(tmp_path / name)
        for image, name in zip(_draw(tmp_path, "a.png", "b.png", "c.png"), names, strict=True)
    ]
    paths[2].write_bytes(b"nothing")
    output = tmp_path / "out.npy"
    with fastrt.load(small.engine, batch=1) as session:
        assert _embed(session, output, paths, stop_after=1) == [0]
        assert _embed(session, output, paths) == [1, 2]
    content = json.loads(output.with_suffix(".json").read_text("utf-8"))
    written = [*content["images"], *(entry["image"] for entry in content["unreadable"])]
    assert [Path(name) for name in written] == paths
    assert Path(written[0]).is_file()
    with output.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        assert [row[1] for row in csv.reader(file)][1:] == [f"{tmp_path}/\\udcd6\\udcd0.png", f"{tmp_path}/\u4e2d.png"]


def test_a_job_of_changed_images_starts_over_if_asked(small: Small, tmp_path: Path) -> None:
    paths = _draw(tmp_path / "crops", *(f"{i}.png" for i in range(6)))
    with fastrt.load(small.engine, batch=2) as session:
        assert _embed(session, tmp_path / "out.npy", paths, stop_after=1) == [0]
        _draw(tmp_path / "crops", "3.png")  # another image with the same name
        with pytest.raises(fastrt.OutputError, match="unfinished embeddings of the same files before"):
            _embed(session, tmp_path / "out.npy", paths)
        assert _embed(session, tmp_path / "out.npy", paths, restart=True) == [0, 2, 4]
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), embed_files(session, paths).embeddings, atol=2e-5)


def test_rows_in_the_journal_that_are_missing_are_computed_again(small: Small, tmp_path: Path) -> None:
    paths = _draw(tmp_path / "crops", *(f"{i}.png" for i in range(6)))
    with fastrt.load(small.engine, batch=2) as session:
        assert _embed(session, tmp_path / "out.npy", paths, stop_after=2) == [0, 2]
        (tmp_path / "out.npy.part").write_bytes((tmp_path / "out.npy.part").read_bytes()[:-1])
        assert _embed(session, tmp_path / "out.npy", paths) == [2, 4]
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), embed_files(session, paths).embeddings, atol=2e-5)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[1]",
        '{"rows": -1, "checksum": 0, "unreadable": []}',
        '{"rows": "2", "checksum": 0, "unreadable": []}',
        '{"rows": true, "checksum": 0, "unreadable": []}',
        '{"rows": 1, "checksum": 0, "unreadable": ["b"]}',
        '{"rows": 1, "checksum": 0, "unreadable": [["another.png", "gone"]]}',
        '{"rows": 0, "checksum": 0, "unreadable": [[1, "gone"]]}',
        '{"rows": 0, "checksum": 0, "unreadable": [[0, 1]]}',
        '{"rows": 0, "checksum": 0, "unreadable": [[[0], "gone"]]}',
        '{"rows": 9, "checksum": 3184186526, "unreadable": []}',
        '{"rows": 2, "checksum": 0, "unreadable": []}',
        '{"rows": 99999999999999999999, "checksum": 0, "unreadable": []}',
        '{"rows": 1e999, "checksum": 0, "unreadable": []}',
        100_000 * "[",
    ],
)
def test_a_damaged_line_of_the_journal_is_ignored(line: str, small: Small, tmp_path: Path) -> None:
    paths = _draw(tmp_path / "crops", *(f"{i}.png" for i in range(4)))
    with fastrt.load(small.engine, batch=2) as session:
        assert _embed(session, tmp_path / "out.npy", paths, stop_after=1) == [0]
        with (tmp_path / "out.npy.journal").open("a") as file:
            file.write(f"{line}\n")
        with (tmp_path / "out.npy.part").open("ab") as file:
            file.write(bytes(4 * 9 * session.info.embedding_dim))  # enough rows for any line
        assert _embed(session, tmp_path / "out.npy", paths) == [2]
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), embed_files(session, paths).embeddings, atol=2e-5)

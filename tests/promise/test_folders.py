"""Folders, patterns and data sets have one rule for images, and nothing is left out without a word."""

from __future__ import annotations

import glob
import logging
import os
from pathlib import Path

import PIL.Image
import pytest

import fastrt
from fastrt.datasets import Market1501
from fastrt.extraction import find_images
from fastrt.images.drawing import draw_person
from fastrt.images.find import image_suffixes

PERSON = draw_person(3, 0, 60, 30)


def _market(root: Path) -> None:
    for folder, camera in (("query", 1), ("bounding_box_test", 2)):
        (root / folder / ".cache").mkdir(parents=True)
        name = f"0001_c{camera}s1_01.png"
        PIL.Image.fromarray(PERSON[..., ::-1]).save(root / folder / name)
        for other in (f"._{name}", "Thumbs.db", ".DS_Store", "notes.txt", ".cache/0001_c3s1.png"):
            (root / folder / other).write_bytes(b"\0")
        (root / folder / "0009_c1s1.png").mkdir()


def test_folders_patterns_and_data_sets_have_one_rule_for_images(tmp_path: Path) -> None:
    _market(tmp_path)
    wanted = [tmp_path / "query" / "0001_c1s1_01.png"]
    assert [image.path for image in Market1501(tmp_path).query] == wanted
    for place in (tmp_path / "query", tmp_path / "q*", tmp_path / "query" / "*", tmp_path / "q*" / "**"):
        assert list(find_images([place]).images) == wanted
    with pytest.raises(fastrt.ImageError, match="no images in"):
        find_images([tmp_path / "query" / ".*"])
    hidden = tmp_path / "query" / ".cache" / "0001_c3s1.png"
    assert list(find_images([hidden]).images) == [hidden]  # named by the user
    assert list(find_images([hidden.parent]).images) == [hidden]
    assert list(find_images([hidden.parent / "*.png"]).images) == [hidden]


def test_files_that_are_left_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _market(tmp_path)
    with caplog.at_level(logging.WARNING, "fastrt"):
        assert len(find_images([tmp_path]).images) == 2
    assert "left out: 4 files without an image suffix" in caplog.text
    for image in find_images([tmp_path]).images:
        image.unlink()
    for place in (tmp_path / "query", tmp_path / "query" / "*"):
        with pytest.raises(fastrt.ImageError) as caught:
            find_images([place])
        assert str(caught.value).startswith(f"no images in {place} (2 other files); expected files named .")


def _refuse_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder ``query`` unreadable, also for a user who may read everything."""
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("query"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_folder_that_cannot_be_searched_is_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _market(tmp_path)
    _refuse_to_search(monkeypatch)
    with pytest.raises(fastrt.ImageError, match=r"query: cannot be searched \(Permission denied\)"):
        find_images([tmp_path])


def test_a_link_to_a_missing_image_is_not_skipped(tmp_path: Path) -> None:
    _market(tmp_path)
    link = tmp_path / "query" / "0002_c1s1_01.png"
    link.symlink_to(tmp_path / "nowhere.png")
    assert link in find_images([tmp_path]).images
    assert link in find_images([tmp_path / "query" / "*"]).images
    assert link in [image.path for image in Market1501(tmp_path).query]
    with pytest.raises(fastrt.ImageError, match="does not exist"):
        fastrt.read_image(link)


def test_every_photograph_that_pillow_decodes_here_is_found(tmp_path: Path) -> None:
    assert {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2"} <= {
        *image_suffixes()
    }
    if ".avif" not in image_suffixes():
        pytest.skip("Pillow here has no AVIF")
    PIL.Image.fromarray(PERSON[..., ::-1]).save(tmp_path / "person.avif")
    (path,) = find_images([tmp_path]).images
    assert fastrt.read_image(path).shape == PERSON.shape


def test_a_link_to_a_folder_is_followed_once(tmp_path: Path) -> None:
    _market(tmp_path / "real")
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "linked").symlink_to(tmp_path / "real" / "query")
    (tree / "inner" / "again").symlink_to(tree)
    (tree / "self.png").symlink_to("self.png")
    for place in (tree, tree / "**", tree / "**" / "*.png", tmp_path / "t*", tmp_path / "**" / "tree" / "*"):
        found = find_images([place]).images
        assert {path.name for path in found} == {"0001_c1s1_01.png", "self.png"}


def test_a_pattern_that_meets_an_unreadable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _market(tmp_path)
    _refuse_to_search(monkeypatch)
    for pattern in ("*", "*/*.png", "**/*.png", "**", "q*/0*"):
        with pytest.raises(fastrt.ImageError, match=r"query: cannot be searched \(Permission denied\)"):
            find_images([tmp_path / pattern])


def test_patterns_match_as_those_of_python(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/2.png", "a/.c/3.png", ".d/4.png", "a/b/e/5.PNG", "[x]/6.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for pattern in ("*/*.png", "**/*.png", "a/**/?.png", "a/b/*", "*/b/../1.*", "a/[!.]*/*", "[[]x]/*", "./a/*.png"):
        want = {Path(path) for path in glob.glob(str(tmp_path / pattern), recursive=True)}  # noqa: PTH207
        files = {path for place in want for path in (place.iterdir() if place.is_dir() else [place])}
        assert set(find_images([tmp_path / pattern]).images) == {path for path in files if path.is_file()}


def test_a_data_set_says_what_it_leaves_out_of_its_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _market(tmp_path)
    (tmp_path / "bounding_box_test" / "0001_c3s1_02").touch()
    Market1501(tmp_path)
    assert "bounding_box_test: left out 3 files or folders that are no images, first 0001_c3s1_02" in caplog.text
    assert "query: left out 2 files or folders that are no images, first 0009_c1s1.png" in caplog.text
    (tmp_path / "images").mkdir()
    with pytest.raises(fastrt.EvaluationError, match="images: no images; expected those of Market-1501"):
        Market1501(tmp_path, distractors=True)

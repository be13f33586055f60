"""A data set is read as its names and tables say, or refused: nothing is guessed from half a name or an empty cell."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastrt import datasets, read_image
from fastrt.datasets import DataSet, LabelledImage
from fastrt.errors import EvaluationError, FastrtError, ImageError
from fastrt.evaluation.labels import number_labels
from fastrt.extraction import find_images

HEADER = "path,identity,camera,role\n"
GOOD = "a.jpg,ann,1,query\nb.jpg,ann,2,gallery\n"


def _read(folder: Path, text: str) -> DataSet:
    table = folder / "shop.csv"
    table.write_text(text, "utf-8")
    return datasets.read_data_set(table)


MISSING = [
    "",
    "  ",
    "\t",
    '""',
    '"  "',
    "nan",
    "NaN",
    "None",
    "null",
    "N/A",
    "<NA>",
    "NA",
    "#N/A",
    "NaT",
    "?",
    "-",
    "Unknown",
    "\\N",
    "1.#QNAN",
    "-1.#IND",
    "#DIV/0!",
    "#NAME?",
    "[null]",
    "(missing)",
    "???",
    "unk",
    "...",
    "\u200b",
    "\u2212",
]


@pytest.mark.parametrize("value", MISSING)
@pytest.mark.parametrize("column", ["path", "identity", "camera", "role"])
def test_a_missing_value_in_a_table_is_no_value(column: str, value: str, tmp_path: Path) -> None:
    cells = {"path": "c.jpg", "identity": "bob", "camera": "1", "role": "gallery", column: value}
    with pytest.raises(EvaluationError, match=rf"shop\.csv, line 4: {column} is (empty|'.+'); expected a value"):
        _read(tmp_path, HEADER + GOOD + ",".join(cells.values()) + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + GOOD + "c.jpg,bob,1\n", "line 4: 3 cells; expected 4, one for each column"),
        (HEADER + GOOD + "c.jpg,bob\n", "line 4: 2 cells"),
        (HEADER + GOOD + "c,1.jpg,bob,1,gallery\n", "line 4: 5 cells"),
        ("path,identity,camera,role,identity\na.jpg,1,1,query,2\n", "2 columns identity; expected path, identity"),
        ("path,identity,camera,role, role\n", "2 columns role"),
        ("path;identity;camera;role\n", "no column path"),
        (HEADER + GOOD + "c.jpg,bob,1,Query\n", "line 4: role is 'Query'; expected query or gallery"),
        (HEADER + '"a.jpg,ann,1,query\n', "line 2: unexpected end of data; expected cells of one line"),
    ],
)
def test_a_table_whose_cells_do_not_fit_its_columns_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=message):
        _read(tmp_path, text)


@pytest.mark.parametrize(
    ("note", "later", "reason"),
    [
        ('"5 inch', "plain", "unexpected end of data"),
        ('"5 inch', '7 inch"', "a cell of several lines"),
        ('"5" inch', "plain", "',' expected after '\"'"),
    ],
)
def test_a_quote_never_hides_the_lines_after_it(note: str, later: str, reason: str, tmp_path: Path) -> None:
    lines = [f"a.jpg,ann,1,query,{note}", "b.jpg,ann,2,gallery,x", f"c.jpg,bob,2,gallery,{later}"]
    with pytest.raises(EvaluationError, match=f"shop.csv, line 2: {reason}; expected cells of one line"):
        _read(tmp_path, "\n".join(["path,identity,camera,role,note", *lines, ""]))


@pytest.mark.parametrize("cells", ["-1.0,2", "-01,2", "-2,2", "-inf,2", "-nan,2", "bob,-1", "bob,-1.0"])
def test_a_number_below_zero_is_no_person_and_no_camera(cells: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="line 4: (identity|camera) is '.*'; expected a"):
        _read(tmp_path, f"{HEADER}{GOOD}c.jpg,{cells},gallery\n")


@pytest.mark.parametrize("cells", ["7.0,1", "7.,1", "+7,1", "\uff17,1", "7,1.0", "7,01", "07,1"])
def test_a_number_is_written_in_one_way(cells: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="line 4: (identity|camera) is '.*'; expected .*[wW]rite"):
        _read(tmp_path, f"{HEADER}a.jpg,7,1,query\nb.jpg,7,2,gallery\nc.jpg,{cells},gallery\n")


def test_labels_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    labels = ["Zo\u00e9", "Zoe\u0301", "Zo\u200b\u00e9", "\ufeffZo\u00e9\u00a0"]
    rows = "".join(f"{i}.jpg,{label},{i},gallery\n" for i, label in enumerate(labels))
    found = _read(tmp_path, f"{HEADER}q.jpg,Zo\u00e9,9,query\n{rows}j.jpg,\u22121,1,gallery\n")
    assert [image.pid for image in found.gallery] == [0] * len(labels)  # j.jpg is junk


def test_a_table_of_junk_names_the_table(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"expected some of both. Check the roles and identities in .*shop\.csv"):
        _read(tmp_path, f"{HEADER}a.jpg,-1,1,query\nb.jpg,-1,2,gallery\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(EvaluationError, match=r"pipe\.jpg: is not a regular file; expected a UTF-8 text file"):
        datasets.read_data_set(pipe)
    _lists(tmp_path, "image", {"train_test_split/other.txt": ""})
    os.mkfifo(tmp_path / "train_test_split" / "test_list_800.txt")
    with pytest.raises(EvaluationError, match=r"test_list_800\.txt: is not a regular file"):
        datasets.VehicleID(tmp_path)
    with pytest.raises(ImageError, match=r"pipe\.jpg: is not a regular file; expected an image"):
        read_image(pipe)
    with pytest.raises(ImageError, match=r"pipe\.jpg: is neither a file nor a folder"):
        find_images([pipe])


READERS: list[Callable[[Any], object]] = [
    datasets.Market1501, datasets.MSMT17, datasets.VeRi, datasets.VehicleID, datasets.read_data_set, read_image,
    lambda path: find_images([path]),
]  # fmt: skip


@pytest.mark.parametrize("path", [None, 5, "a\0b", 5000 * "x", b"a.jpg", "/".join(50 * [99 * "x"])])
@pytest.mark.parametrize("read", READERS)
def test_what_no_file_can_be_called_is_refused(read: Callable[[Any], object], path: object) -> None:
    with pytest.raises(FastrtError, match="expected"):
        read(path)


def test_spaces_and_empty_lines_of_a_table_do_not_matter(tmp_path: Path) -> None:
    plain = _read(tmp_path, HEADER + GOOD)
    assert (
        _read(tmp_path, " path, identity,camera ,role\n\n a.jpg,ann ,1, query\n , , ,\nb.jpg, ann,2,gallery \n")
        == plain
    )


def test_junk_in_a_table_is_left_out_as_in_market_1501(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fastrt"):
        found = _read(tmp_path, HEADER + GOOD + "c.jpg,-1,1,gallery\n")
    assert (found.query, found.gallery) == (
        _read(tmp_path, HEADER + GOOD).query,
        _read(tmp_path, HEADER + GOOD).gallery,
    )
    assert "left out 1 images of identity -1" in caplog.text


def _market(root: Path, *names: str) -> DataSet:
    for folder in ("query", "bounding_box_test"):
        (root / folder).mkdir()
    for name in names:
        (root / "bounding_box_test" / name).touch()
    (root / "query" / "0001_c1s1.jpg").touch()
    return datasets.Market1501(root)


def test_numbers_in_names_are_read_whole(tmp_path: Path) -> None:
    big = 10**30
    found = _market(
        tmp_path, "0001_c10s1_000151_01.jpg", "0001_c12s3.jpg", "12345_c007_f0046985.jpg", f"{big}_c1.jpg",
        "-1_c3s1_01.jpg", "0002_c123s12_0001_00.jpg.jpg",
    )  # fmt: skip
    assert {(image.pid, image.camid) for image in found.gallery} == {(1, 9), (1, 11), (12345, 6), (big, 0), (2, 122)}
    labels = number_labels(found.query, found.gallery)
    assert sorted(set(labels.gallery_pids.tolist())) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "name",
    [
        "2021-03-15_c1_0001.jpg", "0001_c1x_01.jpg", "0001_c1-2.jpg", "0001_c1.5_01.jpg", "0001_c1sx_1.jpg",
        "1-1_c1.jpg", "-2_c1s1.jpg", "0001c1.jpg", "x0001_c1s1.jpg", "0001 _c1s1.jpg", "0001_C1s1.jpg", "٣_c1.jpg",
        "+1_c1s1.jpg", "1_0_c1s1.jpg", "holiday.jpg", "0001_c.jpg",
    ],
)  # fmt: skip
def test_a_name_that_matches_in_part_only_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError) as caught:
        _market(tmp_path, name)
    path = tmp_path / "bounding_box_test" / name
    assert str(caught.value).startswith(f"{path}: name without identity and camera; expected a name as in Market-1501")


def _lists(root: Path, part: str, files: dict[str, str]) -> Path:
    (root / part).mkdir(parents=True)
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def _msmt(root: Path, identity: str, camera: str) -> DataSet:
    line = f"0000/0000_000_{camera}_0303morning_0015_0.jpg {identity}\n"
    return datasets.MSMT17(_lists(root, "test", {"list_query.txt": line, "list_gallery.txt": line}))


def _vehicle_id(root: Path, identity: str, camera: str) -> DataSet:
    lines = f"{camera} {identity}\n9 {identity}\n"
    return datasets.VehicleID(_lists(root, "image", {"train_test_split/test_list_800.txt": lines}))


def _veri_wild(root: Path, identity: str, camera: str) -> DataSet:
    split, image = "train_test_split/", f"{identity}/000001"
    info = f"id/image;Camera ID;Time\n{image};{camera};a\n"
    lists = {f"{split}test_3000{part}.txt": f"{image}.jpg\n" for part in ("_query", "")}
    return datasets.VERIWild(_lists(root, "images", {f"{split}vehicle_info.txt": info, **lists}))


@pytest.mark.parametrize("read", [_msmt, _vehicle_id, _veri_wild])
def test_numbers_in_lists_are_read_whole(read: Callable[[Path, str, str], DataSet], tmp_path: Path) -> None:
    found = read(tmp_path / "whole", "123456", "115")
    assert {image.pid for image in found.gallery} == {123456}
    assert {115, 114} & {image.camid for image in (*found.query, *found.gallery)}
    wrong = [("12a", "1"), ("1", "1a"), ("", "1"), ("1", ""), ("1.0", "1"), ("+1", "1"), ("1", "1.5"), ("٣", "1")]
    for i, (identity, camera) in enumerate(wrong):
        with pytest.raises(EvaluationError, match="line .*Restore the list"):
            read(tmp_path / str(i), identity, camera)


def test_underscores_are_no_digits(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="line '1_0 1_0'"):
        _vehicle_id(tmp_path, "1_0", "1_0")


@pytest.mark.parametrize("spelling", ["b.jpg", "./b.jpg", "x/../b.jpg", "{folder}/b.jpg"])
@pytest.mark.parametrize(
    ("labels", "roles", "reason"),
    [
        ("bob,2", ("gallery", "query"), "identity bob; expected ann"),
        ("-1,2", ("gallery", "query"), "identity -1; expected ann"),
        ("ann,3", ("gallery", "query"), "camera 3; expected 2"),
    ],
)
def test_a_file_has_one_identity_and_in_its_role_one_camera(
    labels: str, roles: tuple[str, ...], reason: str, spelling: str, tmp_path: Path
) -> None:
    for role in roles:
        with pytest.raises(EvaluationError) as caught:
            _read(tmp_path, f"{HEADER}{GOOD}c.jpg,bob,1,gallery\n{spelling.format(folder=tmp_path)},{labels},{role}\n")
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'shop.csv'}, line 5: ")
        assert f" has {reason}, as the same file in line 3. Correct one of the two lines." in message


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_is_the_same_file_so_no_image_is_its_own_match(tmp_path: Path) -> None:
    image = tmp_path / "real" / "a.jpg"
    image.parent.mkdir()
    image.touch()
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "link.jpg").symlink_to(image)
    (tmp_path / "hard.jpg").hardlink_to(image)
    for name in ("linked/a.jpg", "link.jpg", "hard.jpg", "real/a.jpg"):
        for labels, reason in (("bob,1", "identity bob; expected ann"), ("ann,2", "camera 2; expected 1")):
            with pytest.raises(EvaluationError, match=f"has {reason}, as the same file in line 2"):
                _read(tmp_path, f"{HEADER}real/a.jpg,ann,1,query\n{name},{labels},gallery\n")
        query, gallery = LabelledImage(image, 1, 0), LabelledImage(tmp_path / name, 1, 1)
        with pytest.raises(EvaluationError, match="identity 1, camera 1; expected 1 and 0, as of .* the same file"):
            number_labels([query], [gallery])


def test_a_repeated_line_counts_once_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = _read(tmp_path, HEADER + GOOD + "b.jpg,ann,2,gallery\n./b.jpg,ann,2,gallery\na.jpg,ann,1,query\n")
    assert found == _read(tmp_path, HEADER + GOOD)
    assert "shop.csv: left out 3 lines that repeat an image" in caplog.text


def test_a_query_may_stand_in_the_gallery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = _read(tmp_path, HEADER + GOOD + "a.jpg,ann,1,gallery\n")
    assert [image.path.name for image in found.gallery] == ["b.jpg", "a.jpg"]
    assert not caplog.text


def test_lists_name_an_image_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lists = {"train_test_split/test_list_800.txt": "1 7\n2 7\n1 7\n"}
    found = datasets.VehicleID(_lists(tmp_path / "repeated", "image", lists))
    assert (len(found.query), len(found.gallery)) == (1, 1)
    assert "left out 1 lines that repeat an image" in caplog.text
    lists = {"train_test_split/test_list_800.txt": "1 7\n2 7\n1 8\n"}
    with pytest.raises(EvaluationError, match="line '1 8': .*1.jpg has identity 8; expected 7, .* in line '1 7'"):
        datasets.VehicleID(_lists(tmp_path / "conflict", "image", lists))

"""Small data sets in the published layouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fastrt import datasets
from fastrt.datasets import DataSet
from fastrt.errors import EvaluationError


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _market(root: Path) -> None:
    _touch(
        root / "Market-1501-v15.09.15",
        "query/0001_c1s1_001051_00.jpg",
        "query/0002_c6s1_001051_00.jpg",
        "query/Thumbs.db",
        "bounding_box_test/-1_c1s1_000401_03.jpg",
        "bounding_box_test/0000_c2s1_000401_03.jpg",
        "bounding_box_test/0001_c2s1_000401_03.jpg",
        "images/0000_c1s1_000001_00.jpg",
    )


def _duke(root: Path) -> None:
    _touch(root / "DukeMTMC-reID", "query/0005_c2_f0046985.jpg", "bounding_box_test/0005_c8_f0046985.jpg")


def _cuhk(root: Path) -> None:
    _touch(root / "cuhk03-np" / "labeled", "query/0003_c1_21.png", "bounding_box_test/0003_c2_8.png")


def _veri(root: Path) -> None:
    _touch(root / "VeRi", "image_query/0002_c002_00030600_0.jpg", "image_test/0002_c020_00030600_0.jpg")


def _msmt(root: Path) -> None:
    _touch(root / "MSMT17_V2", "mask_test_v2/0000/0000_000_03_0303morning_0015_0.jpg", "train/x")
    for part, camera in (("query", "03"), ("gallery", "15")):
        (root / "MSMT17_V2" / f"list_{part}.txt").write_text(f"0000/0000_000_{camera}_0303morning_0015_0.jpg 7\n")


def _vehicle_id(root: Path) -> None:
    _touch(root / "VehicleID_V1.0", "image/1.jpg", "train_test_split/x")
    lines = [f"{10 * vehicle + i} {vehicle}\n" for vehicle in (1, 2, 3) for i in range(3)]
    (root / "VehicleID_V1.0" / "train_test_split" / "test_list_800.txt").write_text("".join(lines))


def _veri_wild(root: Path) -> None:
    _touch(root / "VERI-Wild", "images/00001/000001.jpg", "train_test_split/x")
    split = root / "VERI-Wild" / "train_test_split"
    (split / "test_3000_query.txt").write_text("00001/000001.jpg\n")
    (split / "test_3000.txt").write_text("00001/000002.jpg\n")
    (split / "vehicle_info.txt").write_text(
        "id/image;Camera ID;Time;Model;Type;Color\n00001/000001;96;a;b;c;d\n00001/000002;7;a;b;c;d\n"
    )


Load = Callable[[Path], DataSet]
SETS: dict[str, tuple[Callable[[Path], None], Load, list[tuple[int, int]], list[tuple[int, int]]]] = {
    "Market-1501": (_market, datasets.Market1501, [(1, 0), (2, 5)], [(0, 1), (1, 1)]),
    "DukeMTMC-reID": (_duke, datasets.DukeMTMC, [(5, 1)], [(5, 7)]),
    "CUHK03-NP labeled": (_cuhk, datasets.CUHK03NP, [(3, 0)], [(3, 1)]),
    "VeRi-776": (_veri, datasets.VeRi, [(2, 1)], [(2, 19)]),
    "MSMT17": (_msmt, datasets.MSMT17, [(7, 2)], [(7, 14)]),
    "VERI-Wild small": (_veri_wild, datasets.VERIWild, [(1, 96)], [(1, 7)]),
}


@pytest.mark.parametrize("name", SETS)
def test_identities_and_cameras_are_read(name: str, tmp_path: Path) -> None:
    lay_out, load, query, gallery = SETS[name]
    lay_out(tmp_path)
    found = load(tmp_path)
    assert found.name == name
    assert [(image.pid, image.camid) for image in found.query] == query
    assert [(image.pid, image.camid) for image in found.gallery] == gallery
    assert found.query[0].path.is_file()
    if name != "VERI-Wild small":
        assert "Do not compare the scores with published ones" in found.notes[0]
    inner = next(path for path in tmp_path.iterdir() if path.is_dir())
    if name != "CUHK03-NP labeled":
        assert load(inner).query == found.query  # the folder itself is accepted too


@pytest.mark.parametrize("name", SETS)
def test_a_missing_data_set_is_an_error_with_the_layout(name: str, tmp_path: Path) -> None:
    _, load, _, _ = SETS[name]
    with pytest.raises(EvaluationError, match=rf"is missing; expected {name} as\n  ") as caught:
        load(tmp_path)
    assert str(caught.value).count("\n") >= 2


def test_distractors_are_optional(tmp_path: Path) -> None:
    _market(tmp_path)
    assert len(datasets.Market1501(tmp_path, distractors=True).gallery) == 3


def test_a_missing_folder_and_an_unknown_name_are_errors(tmp_path: Path) -> None:
    _touch(tmp_path, "query/0001_c1s1_001051_00.jpg")
    with pytest.raises(EvaluationError, match="bounding_box_test is missing"):
        datasets.Market1501(tmp_path)
    _touch(tmp_path, "bounding_box_test/holiday.jpg")
    with pytest.raises(EvaluationError, match=r"holiday\.jpg: name without identity and camera"):
        datasets.Market1501(tmp_path)


@pytest.mark.parametrize(
    ("lay_out", "load", "path", "line", "expected"),
    [
        (_msmt, datasets.MSMT17, "MSMT17_V2/list_query.txt", "0000/a.jpg", "a path and an identity as in MSMT17"),
        (
            _vehicle_id,
            datasets.VehicleID,
            "VehicleID_V1.0/train_test_split/test_list_800.txt",
            "1 a",
            "an image and a vehicle",
        ),
        (
            _veri_wild,
            datasets.VERIWild,
            "VERI-Wild/train_test_split/test_3000.txt",
            "00001/9.jpg",
            "an image with a camera in vehicle_info.txt",
        ),
    ],
)
def test_a_wrong_line_of_a_list_is_named(
    lay_out: Callable[[Path], None], load: Load, path: str, line: str, expected: str, tmp_path: Path
) -> None:
    lay_out(tmp_path)
    (tmp_path / path).write_text(f"{line}\n")
    with pytest.raises(EvaluationError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path / path}: line '{line}'; expected {expected}. Restore the list."


def test_vehicle_id_has_one_gallery_image_of_each_vehicle(tmp_path: Path) -> None:
    _vehicle_id(tmp_path)
    found = datasets.VehicleID(tmp_path)
    assert Counter(image.pid for image in found.gallery) == {1: 1, 2: 1, 3: 1}
    assert Counter(image.pid for image in found.query) == {1: 2, 2: 2, 3: 2}
    assert datasets.VehicleID(tmp_path) == found != datasets.VehicleID(tmp_path, seed=1)
    assert len({image.camid for image in (*found.query, *found.gallery)}) == 9
    with pytest.raises(EvaluationError, match="test size huge: unknown; expected small, medium, large"):
        datasets.VehicleID(tmp_path, "huge")


def test_a_table_is_read_as_a_data_set(tmp_path: Path) -> None:
    table = tmp_path / "shop.csv"
    table.write_text(
        "path,identity,camera,role\na/1.jpg,ann,door,query\nb.jpg,bob,till,gallery\nc.jpg,ann,till,gallery\n"
    )
    found = datasets.read_data_set(table)
    assert (found.name, found.notes) == ("shop", ())
    assert [(p.path, p.pid, p.camid) for p in found.query] == [(tmp_path / "a" / "1.jpg", 0, 0)]
    assert [(p.pid, p.camid) for p in found.gallery] == [(1, 1), (0, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,identity,role\n", "no column camera; expected path, identity, camera, role"),
        ("path,identity,camera,role\na.jpg,1,1,train\n", "line 2: role is 'train'; expected query or gallery"),
        ("path,identity,camera,role\na.jpg,1,1,query\n", "1 queries and 0 gallery images; expected some of both"),
        ("", "no column path"),
    ],
)
def test_a_wrong_table_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(EvaluationError, match=message):
        datasets.read_data_set(tmp_path / "t.csv")
    with pytest.raises(EvaluationError, match="cannot be read"):
        datasets.read_data_set(tmp_path / "nowhere.csv")

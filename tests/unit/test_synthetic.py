"""Drawn pedestrians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastrt
from fastrt.datasets.synthetic import Synthetic, choose_look, draw_crop, make_camera, write_synthetic
from fastrt.datasets.synthetic.figure import VIEWS, Pose, draw_figure
from fastrt.datasets.synthetic.look import BAGS, HAIRCUTS, LEGS, TEXTURES


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "drawn", train=3, test=12, distractors=5, cameras=4)


def test_the_layout_is_market_1501s_and_test_people_are_new(root: Path) -> None:
    data_set = Synthetic(root)
    train = {path.name[:4] for path in (root / "bounding_box_train").iterdir()}
    queried = {image.pid for image in data_set.query}
    assert train == {"0001", "0002", "0003"}
    assert queried == set(range(4, 16))
    assert sum(image.pid == 0 for image in data_set.gallery) == 5
    for image in data_set.query:  # each query has a true match by another camera
        assert any(other.pid == image.pid and other.camid != image.camid for other in data_set.gallery)
    shapes = {fastrt.read_image(image.path).shape for image in data_set.gallery}
    assert len(shapes) > 20
    assert all(64 <= height <= 320 and 28 <= width <= 160 for height, width, _ in shapes)


def test_the_seed_determines_the_images(root: Path, tmp_path: Path) -> None:
    again, other = (
        write_synthetic(tmp_path / str(seed), train=3, test=12, distractors=5, cameras=4, seed=seed) for seed in (0, 1)
    )
    files = sorted(path.relative_to(root) for path in root.rglob("*.jpg"))
    assert files == sorted(path.relative_to(again) for path in again.rglob("*.jpg"))
    assert all((root / file).read_bytes() == (again / file).read_bytes() for file in files)
    first = next(file for file in files if (other / file).is_file())
    assert (root / first).read_bytes() != (other / first).read_bytes()


def test_a_folder_that_is_not_empty_is_refused(root: Path) -> None:
    with pytest.raises(fastrt.OutputError, match="is not empty"):
        write_synthetic(root)


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(fastrt.OutputError, match="file: cannot be written"):
        write_synthetic(tmp_path / "file", train=1, test=1, distractors=0)


def test_every_look_is_drawn_in_every_view() -> None:
    seen: dict[str, set[str]] = {"texture": set(), "haircut": set(), "legs": set(), "bag": set()}
    for seed in range(60):
        look = choose_look(np.random.default_rng(seed))
        for key, value in (
            ("texture", look.upper.texture), ("haircut", look.haircut), ("legs", look.legs), ("bag", look.bag)
        ):  # fmt: skip
            seen[key].add(value)
        for view in VIEWS:
            image, mask = draw_figure(look, Pose(view, 0.7, -0.4, 0.01))
            assert 0.08 < mask.mean() < 0.5
            assert image[mask > 0.9].std() > 5
    assert seen == {"texture": set(TEXTURES), "haircut": set(HAIRCUTS), "legs": set(LEGS), "bag": set(BAGS)}


def test_cameras_give_different_images_of_one_person() -> None:
    look = choose_look(np.random.default_rng(5))
    crops = [draw_crop(look, make_camera(np.random.default_rng(i)), np.random.default_rng(9)) for i in range(4)]
    means = np.array([crop.mean((0, 1)) for crop in crops])
    assert (means.std(0) > 3).all()


def test_an_untrained_network_fails(root: Path, tmp_path: Path) -> None:
    from fastrt.testing.untrained import draw_weights

    spec = fastrt.load_spec("kd-r18-r101_ibn", ["INPUT.SIZE_TEST", [128, 64]])
    fastrt.build(fastrt.build_network(spec, draw_weights(spec)), tmp_path / "engine.xml")
    with fastrt.load(tmp_path / "engine.xml") as session:
        assert fastrt.evaluate(session, Synthetic(root)).mAP < 0.5  # with twelve people; much lower with many

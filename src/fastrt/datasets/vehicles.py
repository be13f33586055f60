"""Vehicle re-identification data sets.

Source: fastreid/data/datasets.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastrt.datasets.base import (
    DataSet,
    LabelledImage,
    Root,
    find_root,
    make_data_set,
    read_layout,
    read_lines,
    read_list,
    whole_number,
)
from fastrt.errors import EvaluationError

VEHICLE_ID = {"small": (800, 6493), "medium": (1600, 13377), "large": (2400, 19777)}
"""Numbers of vehicles and of images in VehicleID's test sets."""

VERI_WILD = {"small": 3000, "medium": 5000, "large": 10000}
"""Numbers of vehicles in VERI-Wild's test sets, with one query each."""


def VeRi(root: Root) -> DataSet:  # noqa: N802  # the common name
    """VeRi-776: 1,678 queries, 11,579 gallery images.

    Args:
        root: the folder ``VeRi``, or its parent.

    Raises:
        EvaluationError: the data set is missing or incomplete; the message shows the layout.
    """
    folders, published = ["VeRi", "veri"], (1678, 11579)
    return read_layout("VeRi-776", root, folders, published, query="image_query", gallery=["image_test"])


def VehicleID(root: Root, size: str = "small", *, seed: int = 0) -> DataSet:  # noqa: N802
    """VehicleID's small, medium or large test set: the gallery has one image per vehicle, all others are queries.

    As in FastReID, the gallery image is random; here a seed makes it reproducible. Each image has its own camera.
    Arguments and errors as in `VeRi`.
    """
    _check_size(size, VEHICLE_ID)
    vehicles, image_count = VEHICLE_ID[size]
    name = f"VehicleID {size}"
    source = f"train_test_split/test_list_{vehicles}.txt"
    folder = find_root(name, root, ["VehicleID_V1.0", "vehicleid"], ["image", source])

    def parse(line: str) -> LabelledImage:
        image, vehicle = line.split()
        return LabelledImage(folder / "image" / f"{image}.jpg", whole_number(vehicle), whole_number(image))

    images = read_list(folder / source, parse, "an image and a vehicle")
    query: list[LabelledImage] = []
    gallery: list[LabelledImage] = []
    seen: set[int] = set()
    for i in np.random.default_rng(seed).permutation(len(images)):
        (query if images[i].pid in seen else gallery).append(images[i])
        seen.add(images[i].pid)
    return make_data_set(name, query, gallery, (image_count - vehicles, vehicles))


def VERIWild(root: Root, size: str = "small") -> DataSet:  # noqa: N802
    """VERI-Wild's small, medium or large test set. Arguments and errors as in `VeRi`."""
    _check_size(size, VERI_WILD)
    vehicles = VERI_WILD[size]
    name = f"VERI-Wild {size}"
    lists = [f"train_test_split/test_{vehicles}{part}.txt" for part in ("_query", "")]
    info = "train_test_split/vehicle_info.txt"
    folder = find_root(name, root, ["VERI-Wild"], ["images", info, *lists])
    rows = (line.split(";") for line in read_lines(folder / info)[1:])  # after the column names: id/image;camera;...
    cameras = {row[0]: row[1] for row in rows if len(row) > 1}

    def parse(line: str) -> LabelledImage:
        image = line.removesuffix(".jpg")
        pid, camera = image.partition("/")[0], cameras[image]
        return LabelledImage(folder / "images" / f"{image}.jpg", whole_number(pid), whole_number(camera))

    query, gallery = (read_list(folder / part, parse, "an image with a camera in vehicle_info.txt") for part in lists)
    return make_data_set(name, query, gallery, None)


def _check_size(size: str, known: Mapping[str, object]) -> None:
    if size not in known:
        raise EvaluationError(f"test size {size}: unknown; expected {', '.join(known)}. Choose one of them.")

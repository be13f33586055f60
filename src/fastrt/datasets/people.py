"""Person re-identification data sets.

Source: fastreid/data/datasets.
"""

from __future__ import annotations

import os

from fastrt.datasets.base import (
    DataSet,
    LabelledImage,
    Root,
    find_root,
    make_data_set,
    read_layout,
    read_list,
    whole_number,
)
from fastrt.errors import EvaluationError
from fastrt.paths import as_path
from fastrt.signatures import checked


@checked(EvaluationError, "distractors")
def Market1501(root: Root, *, distractors: bool = False) -> DataSet:  # noqa: N802  # the common name
    """Market-1501: 3,368 queries, 15,913 gallery images without junk, with distractors.

    Args:
        root: the folder ``Market-1501-v15.09.15``, or its parent.
        distractors: add the 500,000 distractors of ``images``.

    Raises:
        EvaluationError: the data set is missing or incomplete; the message shows the layout.
    """
    folders = ["Market-1501-v15.09.15"]
    if distractors:
        return read_layout("Market-1501+500k", root, folders, None, gallery=["bounding_box_test", "images"])
    return read_layout("Market-1501", root, folders, (3368, 15913))


def DukeMTMC(root: Root) -> DataSet:  # noqa: N802
    """DukeMTMC-reID: 2,228 queries, 17,661 gallery images. Arguments and errors as in `Market1501`."""
    return read_layout("DukeMTMC-reID", root, ["DukeMTMC-reID"], (2228, 17661))


def MSMT17(root: Root) -> DataSet:  # noqa: N802
    """MSMT17, version 1 or 2: 11,659 queries, 82,161 gallery images. Arguments and errors as in `Market1501`."""
    lists = ["list_query.txt", "list_gallery.txt"]
    versions = ["MSMT17_V2", "MSMT17_V1", "MSMT17"]
    root = as_path(root, "MSMT17: folder", EvaluationError)
    is_second = any(os.path.isdir(root / version / "mask_test_v2") for version in (*versions, "."))  # noqa: PTH112
    images = "mask_test_v2" if is_second else "test"
    folder = find_root("MSMT17", root, versions, [*lists, images])

    def parse(line: str) -> LabelledImage:
        path, pid = line.split(" ")
        return LabelledImage(folder / images / path, whole_number(pid), whole_number(path.split("_")[2]) - 1)

    query, gallery = (read_list(folder / part, parse, "a path and an identity as in MSMT17") for part in lists)
    return make_data_set("MSMT17", query, gallery, (11659, 82161))


@checked(EvaluationError, "labeled")
def CUHK03NP(root: Root, *, labeled: bool = True) -> DataSet:  # noqa: N802
    """CUHK03, new protocol: 1,400 queries; 5,328 gallery images ``labeled``, or 5,332 detected.

    Arguments and errors as in `Market1501`.
    """
    variant = "labeled" if labeled else "detected"
    published = (1400, 5328 if labeled else 5332)
    return read_layout(f"CUHK03-NP {variant}", root, [f"cuhk03-np/{variant}", variant], published)


def Synthetic(root: Root) -> DataSet:  # noqa: N802
    """The test set that `fastrt.datasets.synthetic.write_synthetic` wrote. Errors as in `Market1501`."""
    return read_layout("synthetic pedestrians", root, ["synthetic"], None)

"""Person re-identification data sets.

Source: fastreid/data/datasets.
"""

from __future__ import annotations

from pathlib import Path

from fastrt.datasets.base import DataSet, Picture, Root, find_root, make_data_set, read_folder, read_lines
from fastrt.errors import EvaluationError

BY_NAME = r"([-\d]+)_c(\d)"


def Market1501(root: Root, *, distractors: bool = False) -> DataSet:  # noqa: N802  # the common name
    """Market-1501: 3,368 queries, 15,913 gallery images without junk, with distractors.

    Args:
        root: the folder ``Market-1501-v15.09.15``, or its parent.
        distractors: add the 500,000 distractors of ``images``.

    Raises:
        EvaluationError: the data set is missing or incomplete; the message shows the layout.
    """
    name = "Market-1501+500k" if distractors else "Market-1501"
    parts = ["query", "bounding_box_test", *(["images"] if distractors else [])]
    folder = find_root(name, Path(root), ["Market-1501-v15.09.15"], parts)
    gallery = [image for part in parts[1:] for image in read_folder(name, folder / part, BY_NAME)]
    return make_data_set(
        name, read_folder(name, folder / "query", BY_NAME), gallery, None if distractors else (3368, 15913)
    )


def DukeMTMC(root: Root) -> DataSet:  # noqa: N802
    """DukeMTMC-reID: 2,228 queries, 17,661 gallery images. Arguments and errors as of `Market1501`."""
    name = "DukeMTMC-reID"
    folder = find_root(name, Path(root), ["DukeMTMC-reID"], ["query", "bounding_box_test"])
    query, gallery = (read_folder(name, folder / part, BY_NAME) for part in ("query", "bounding_box_test"))
    return make_data_set(name, query, gallery, (2228, 17661))


def MSMT17(root: Root) -> DataSet:  # noqa: N802
    """MSMT17, version 1 or 2: 11,659 queries, 82,161 gallery images. Arguments and errors as of `Market1501`."""
    name = "MSMT17"
    lists = ["list_query.txt", "list_gallery.txt"]
    versions = ["MSMT17_V2", "MSMT17_V1", "MSMT17"]
    is_second = any((Path(root) / version / "mask_test_v2").is_dir() for version in (*versions, "."))
    folder_name = "mask_test_v2" if is_second else "test"
    folder = find_root(name, Path(root), versions, [*lists, folder_name])
    query, gallery = (
        [_parse_msmt17(line, folder / folder_name, folder / part) for line in read_lines(folder / part)]
        for part in lists
    )
    return make_data_set(name, query, gallery, (11659, 82161))


def _parse_msmt17(line: str, folder: Path, source: Path) -> Picture:
    path, _, pid = line.partition(" ")
    try:
        return Picture(folder / path, int(pid), int(path.split("_")[2]) - 1)
    except (ValueError, IndexError):
        raise EvaluationError(
            f"{source}: line {line!r}; expected a path and an identity as in MSMT17. Restore the list."
        ) from None


def CUHK03NP(root: Root, *, labeled: bool = True) -> DataSet:  # noqa: N802
    """CUHK03, new protocol: 1,400 queries; 5,328 gallery images ``labeled``, or 5,332 detected.

    Arguments and errors as of `Market1501`.
    """
    kind = "labeled" if labeled else "detected"
    name = f"CUHK03-NP {kind}"
    parts = ["query", "bounding_box_test"]
    folder = find_root(name, Path(root), [f"cuhk03-np/{kind}", kind], parts)
    query, gallery = (read_folder(name, folder / part, BY_NAME) for part in parts)
    return make_data_set(name, query, gallery, (1400, 5328 if labeled else 5332))

"""Identities and cameras of queries and gallery images."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np

from fastrt.arrays import Array
from fastrt.datasets.base import LabelledImage
from fastrt.errors import EvaluationError
from fastrt.evaluation.arguments import check_numbers
from fastrt.evaluation.finite import check_some
from fastrt.paths import as_path, identify


class Labels(NamedTuple):
    """Integers ``(q,)`` and ``(g,)``: identities and cameras, in the order of the arguments of `rank` and `Pairs`."""

    query_pids: Array
    gallery_pids: Array
    query_camids: Array
    gallery_camids: Array


def number_labels(query: Sequence[LabelledImage], gallery: Sequence[LabelledImage]) -> Labels:
    """Number the identities and the cameras of a data set from 0, so that any whole number fits an array.

    Raises:
        EvaluationError: an identity or a camera is not a whole number, or a file, by whatever name, has two of them: it
            would be its own true match.
    """
    files: dict[Hashable, LabelledImage] = {}
    for name, part in (("query", query), ("gallery", gallery)):
        if not (isinstance(part, Sequence) and all(isinstance(image, LabelledImage) for image in part)):
            raise EvaluationError(f"data set: {name} is no list of LabelledImage; expected one. Correct the data set.")
    for image in (*query, *gallery):
        as_path(image.path, "data set", EvaluationError)
        labels_of_image: tuple[object, ...] = (image.pid, image.camid)
        if not all(isinstance(label, Integral) for label in labels_of_image):
            raise EvaluationError(
                f"{image.path}: identity {image.pid!r}, camera {image.camid!r}; expected whole numbers. Number them."
            )
        first = files.setdefault(identify(image.path), image)
        if labels_of_image != (first.pid, first.camid):
            raise EvaluationError(
                f"{image.path}: identity {image.pid}, camera {image.camid}; expected {first.pid} and {first.camid}, as"
                f" of {first.path}, which is the same file. Correct one of them."
            )
    labels = []
    for key in ("pid", "camid"):
        numbers: dict[int, int] = {}
        labels += [
            np.array([numbers.setdefault(getattr(image, key), len(numbers)) for image in part], np.intp)
            for part in (query, gallery)
        ]
    return Labels(*labels)


def group_images(pids: Array) -> dict[int, Array]:
    """Return the indices of each identity, ascending."""
    order = np.argsort(pids, kind="stable")
    values, starts = np.unique(pids[order], return_index=True)
    return {int(value): part for value, part in zip(values, np.split(order, starts[1:]), strict=True)}


def read_labels(labels: Labels) -> Labels:
    """Return labels, any sequences of whole numbers, as int64.

    Raises:
        EvaluationError: a sequence is empty, or not of whole numbers, one per image.
    """
    labels = Labels(*(_read(name, values) for name, values in labels._asdict().items()))
    sizes = [len(array) for array in labels]
    if sizes[:2] != sizes[2:]:
        raise EvaluationError(
            f"rank: {sizes[0]} queries have {sizes[2]} cameras, and {sizes[1]} gallery images {sizes[3]};"
            " expected one per image. Check the arrays."
        )
    check_some(labels.query_pids, labels.gallery_pids)
    return labels


def _read(name: str, values: Array) -> Array:
    array = check_numbers(name, values, 1)
    with np.errstate(invalid="ignore"):  # NaN and infinity become numbers that differ from them
        whole = array.astype(np.int64)
    if (whole != array).any():
        raise EvaluationError(f"rank: {name} are not all whole numbers; expected integers. Number them from 0.")
    return whole


def check_labels(labels: Labels) -> Labels:
    """Return labels as `read_labels` does, if a query has a true match: an image of its identity from another camera.

    Raises:
        EvaluationError: no query has one, or as `read_labels`.
    """
    labels = read_labels(labels)
    size = len(labels.query_pids)
    groups = group_images(labels.gallery_pids)
    own = 0
    for pid, camid in zip(labels.query_pids, labels.query_camids, strict=True):
        same = groups.get(int(pid))
        if same is not None and (labels.gallery_camids[same] != camid).any():
            return labels
        own += same is not None
    if own:
        others = f", and {size - own} match none" if own < size else ""
        raise EvaluationError(
            f"rank: no true match: {own} of {size} queries match only images of their own camera{others};"
            " expected a query with a match of another camera. Check the cameras: matches of the same one do not count."
        )
    raise EvaluationError(
        f"rank: no true match: the gallery has no image of the identities of the {size} queries; expected a query"
        " with a match of another camera. Check the identities."
    )


def count_pairs(labels: Labels) -> tuple[int, int]:
    """Count the pairs of one identity, and of two, without junk and without queries that have no true match."""
    groups = group_images(labels.gallery_pids)
    same = different = 0
    for pid, camid in zip(labels.query_pids, labels.query_camids, strict=True):
        alike = groups.get(int(pid), np.empty(0, np.intp))
        true = int(np.count_nonzero(labels.gallery_camids[alike] != camid))
        if true:
            same += true
            different += len(labels.gallery_pids) - len(alike)
    return same, different

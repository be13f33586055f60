"""Rank lists: queries and their nearest gallery images, and the thumbnails of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from fastrt.datasets.base import DataSet, LabelledImage
from fastrt.evaluation.distances import cosine_distances
from fastrt.evaluation.evaluate import Scores
from fastrt.images.preprocess import read_image

HEIGHT, MOST_WIDTH = 128, 256
"""Size of a thumbnail in pixels. The aspect ratio is kept, unless it is extreme."""


@dataclass(frozen=True)
class RankList:
    """A query and its nearest gallery images.

    Attributes:
        query: the query.
        found: the nearest gallery images.
        right: the mask of true matches among them.
        similarities: their cosine similarities to the query.
        precision: average precision of the query.
    """

    query: LabelledImage
    found: tuple[LabelledImage, ...]
    right: tuple[bool, ...]
    similarities: tuple[float, ...]
    precision: float


def list_ranks(data_set: DataSet, scores: Scores, queries: Sequence[int]) -> list[RankList]:
    """Make the rank lists of queries, given by index, in the order of the evaluation."""
    lists = []
    for i in queries:
        query = data_set.query[i]
        near = scores.nearest[i][scores.nearest[i] >= 0]
        found = tuple(data_set.gallery[j] for j in near)
        right = tuple(image.pid == query.pid for image in found)
        similarities = tuple((1 - cosine_distances(scores.queries[i : i + 1], scores.gallery[near])[0]).tolist())
        lists.append(RankList(query, found, right, similarities, float(scores.average_precision[i])))
    return lists


def write_thumbnails(ranks: Iterable[RankList], folder: Path) -> dict[Path, str]:
    """Write a thumbnail of each image into a new folder. Returns the file names by image."""
    folder.mkdir()
    names: dict[Path, str] = {}
    for ranked in ranks:
        for image in (ranked.query, *ranked.found):
            if image.path not in names:
                names[image.path] = f"{len(names):03}.jpg"
                pixels = read_image(image.path)
                width = min(max(round(HEIGHT * pixels.shape[1] / pixels.shape[0]), 1), MOST_WIDTH)
                small = PIL.Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])).resize((width, HEIGHT))
                small.save(folder / names[image.path], quality=90)
    return names

"""Rank lists as images: a query and its nearest gallery images, with frames for right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from fastrt.datasets.base import DataSet, LabelledImage
from fastrt.evaluation.distances import cosine_distances
from fastrt.evaluation.evaluate import Scores
from fastrt.images.preprocess import read_image

SHOWN = 10
TILE = (64, 128)
FRAME, GAP = 4, 6
COLOURS = {True: (42, 127, 63), False: (176, 50, 43), None: (90, 90, 90)}
"""Colours (RGB) of the frames: right, wrong, query."""


@dataclass(frozen=True)
class RankList:
    """A query, its nearest gallery images, the mask of true matches among them, and its average precision."""

    query: LabelledImage
    found: tuple[LabelledImage, ...]
    right: tuple[bool, ...]
    precision: float


def list_ranks(data_set: DataSet, scores: Scores, queries: Sequence[int]) -> list[RankList]:
    """Make the rank lists of queries, given by index, by cosine distance and without junk."""
    lists = []
    for i in queries:
        query = data_set.query[i]
        distances = cosine_distances(scores.queries[i : i + 1], scores.gallery)[0]
        places = np.argsort(distances, kind="stable")
        images = (data_set.gallery[place] for place in places)
        kept = (image for image in images if (image.pid, image.camid) != (query.pid, query.camid))
        found = tuple(image for image, _ in zip(kept, range(SHOWN), strict=False))
        right = tuple(image.pid == query.pid for image in found)
        lists.append(RankList(query, found, right, float(scores.average_precision[i])))
    return lists


def draw_ranks(ranks: Sequence[RankList], path: Path) -> None:
    """Draw rank lists on a sheet, one per row."""
    width, height = TILE[0] + 2 * FRAME + GAP, TILE[1] + 2 * FRAME + GAP
    sheet = PIL.Image.new("RGB", ((SHOWN + 1) * width + 2 * GAP, len(ranks) * height + GAP), "white")
    for row, ranked in enumerate(ranks):
        tiles = [(ranked.query, None), *zip(ranked.found, ranked.right, strict=True)]
        for column, (image, right) in enumerate(tiles):
            x = GAP + column * width + (GAP if column else 0)
            sheet.paste(_tile(image, COLOURS[right]), (x, GAP + row * height))
    sheet.save(path)


def _tile(image: LabelledImage, colour: tuple[int, int, int]) -> PIL.Image.Image:
    pixels = PIL.Image.fromarray(np.ascontiguousarray(read_image(image.path)[..., ::-1])).resize(TILE)
    return PIL.ImageOps.expand(pixels, FRAME, colour)

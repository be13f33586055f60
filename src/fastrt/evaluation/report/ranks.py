"""Rank lists as pictures: a query, and who was found, framed by whether that was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw

from fastrt.datasets.base import DataSet, Picture
from fastrt.evaluation.distances import find_metric
from fastrt.evaluation.evaluate import Scores
from fastrt.images.preprocess import read_image

SHOWN = 10
TILE = (64, 128)
FRAME, GAP = 4, 6
COLOURS = {True: (42, 127, 63), False: (176, 50, 43), None: (90, 90, 90)}
"""Of frames: right, wrong, and the query's own."""


@dataclass(frozen=True)
class RankList:
    """A query, the first that were found for it, which of them are right, and its average precision."""

    query: Picture
    found: tuple[Picture, ...]
    right: tuple[bool, ...]
    precision: float


def list_ranks(data_set: DataSet, scores: Scores, queries: Sequence[int]) -> list[RankList]:
    """The rank lists of some queries, by number, by plain cosine distance and without junk."""
    lists = []
    for i in queries:
        query = data_set.query[i]
        distances = find_metric("cosine")(scores.queries[i : i + 1], scores.gallery)[0]
        places = np.argsort(distances, kind="stable")
        pictures = (data_set.gallery[place] for place in places)
        kept = (picture for picture in pictures if (picture.pid, picture.camid) != (query.pid, query.camid))
        found = tuple(picture for picture, _ in zip(kept, range(SHOWN), strict=False))
        right = tuple(picture.pid == query.pid for picture in found)
        lists.append(RankList(query, found, right, float(scores.ranking.average_precision[i])))
    return lists


def draw_ranks(ranks: Sequence[RankList], path: Path) -> None:
    """A sheet of rank lists, one a row."""
    width, height = TILE[0] + 2 * FRAME + GAP, TILE[1] + 2 * FRAME + GAP
    sheet = PIL.Image.new("RGB", ((SHOWN + 1) * width + 2 * GAP, len(ranks) * height + GAP), "white")
    for row, ranked in enumerate(ranks):
        tiles = [(ranked.query, None), *zip(ranked.found, ranked.right, strict=True)]
        for column, (picture, right) in enumerate(tiles):
            x = GAP + column * width + (GAP if column else 0)
            sheet.paste(_tile(picture, COLOURS[right]), (x, GAP + row * height))
    sheet.save(path)


def _tile(picture: Picture, colour: tuple[int, int, int]) -> PIL.Image.Image:
    image = PIL.Image.fromarray(np.ascontiguousarray(read_image(picture.path)[..., ::-1])).resize(TILE)
    tile = PIL.Image.new("RGB", (TILE[0] + 2 * FRAME, TILE[1] + 2 * FRAME), colour)
    tile.paste(image, (FRAME, FRAME))
    return tile

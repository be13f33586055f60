"""How well an engine finds people in a data set: FastReID's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fastrt.arrays import Array
from fastrt.datasets.base import DataSet, Picture
from fastrt.engine.session import Session
from fastrt.errors import EvaluationError
from fastrt.evaluation.distances import METRICS, Metric, distance_blocks
from fastrt.evaluation.expansion import expand_queries
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.ranking import Ranking, rank
from fastrt.evaluation.rerank import RERANKINGS, Reranking, rerank
from fastrt.evaluation.roc import RATES, true_positive_rates
from fastrt.extraction import embed_files


@dataclass(frozen=True, eq=False)
class Scores:
    """What an evaluation found; ``print(scores)`` shows it. All from 0 to 1.

    Attributes:
        title: data set and settings.
        ranking: CMC, mAP, mINP, and the average precision of each query.
        queries: their embeddings, ``(q, D)`` float32, before any expansion.
        gallery: those of the gallery, ``(g, D)``.
        pairs: of both, by plain cosine distance; for `measure_roc` and `fastrt.evaluation.threshold.find_threshold`.
    """

    title: str
    ranking: Ranking
    queries: Array
    gallery: Array
    pairs: Pairs

    @property
    def mAP(self) -> float:  # noqa: N802  # as everybody writes it
        """Mean average precision."""
        return self.ranking.mAP

    @property
    def mINP(self) -> float:  # noqa: N802
        """Mean inverse negative penalty."""
        return self.ranking.mINP

    @property
    def cmc(self) -> Array:
        """Which part of the queries has a true match among the first so many, ``(max_rank,)``."""
        return self.ranking.cmc

    @property
    def rank1(self) -> float:
        """Which part has one in the first place."""
        return self.ranking.rank1

    def figures(self) -> dict[str, float]:
        """The figures that are published, by name."""
        ranks = {f"rank-{k}": float(self.cmc[k - 1]) for k in (1, 5, 10) if k <= len(self.cmc)}
        return {**ranks, "mAP": self.mAP, "mINP": self.mINP}

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {100 * value:.2f}" for name, value in self.figures().items())
        return f"{self.title}: {figures} ({self.ranking.valid} queries)"


def evaluate(
    session: Session,
    data_set: DataSet,
    *,
    metric: Metric = "cosine",
    reranking: Reranking | None = None,
    expand: bool = False,
    flip: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Scores:
    """Embed a data set, rank its gallery for its queries, and score the ranking as FastReID does.

    Args:
        session: the engine.
        data_set: one of `fastrt.datasets`.
        metric: ``cosine``, or ``euclidean``, which is squared.
        reranking: ``fastreid`` or ``zhong``.
        expand: alpha query expansion.
        flip: the mean of a picture's embedding and of its mirror image's.
        advance: called with how many more pictures are embedded; all of them twice for ``flip``.

    Raises:
        EvaluationError: pictures that cannot be read, no true match, or settings whose figures need an engine that
            gives embeddings as FastReID's model does.
    """
    if metric not in METRICS or reranking not in (None, *RERANKINGS):
        raise EvaluationError(
            f"there is no metric {metric} with re-ranking {reranking}; known are"
            f" {', '.join(METRICS)}, with {', '.join(RERANKINGS)} or none"
        )
    asked = {"euclidean": metric == "euclidean", "query expansion": expand, "flip": flip}
    if session.info.normalized and any(asked.values()):
        what = next(name for name, is_asked in asked.items() if is_asked)
        raise EvaluationError(
            f"FastReID's figures with {what} come of embeddings as its model returns them, and this engine gives them"
            " at unit length; build one with --raw (normalize=False)"
        )
    pictures = (*data_set.query, *data_set.gallery)
    rows = _embed(session, pictures, advance)
    if flip:
        rows = (rows + _embed(session, pictures, advance, mirrored=True)) / 2
    queries, gallery = rows[: len(data_set.query)], rows[len(data_set.query) :]
    expanded = expand_queries(queries, gallery) if expand else (queries, gallery)
    if reranking is None:
        blocks = distance_blocks(*expanded, metric)
    else:
        blocks = iter([(0, rerank(*expanded, reranking, metric))])
    extras = [f"re-ranking {reranking}"] * bool(reranking) + [name for name in asked if asked[name] and name != metric]
    title = ", ".join([data_set.name, metric, *extras])
    who = _identify(data_set)
    pairs = Pairs(partial(distance_blocks, queries, gallery), *who)
    return Scores(title, rank(blocks, *who), queries, gallery, pairs)


def measure_roc(pairs: Pairs) -> dict[str, float]:
    """The true positive rates at FastReID's false positive rates, by the names that it gives them.

    Raises:
        EvaluationError: no pair of one person, or of two.
    """
    return dict(zip((f"TPR@FPR={rate:.0e}" for rate in RATES), true_positive_rates(pairs), strict=True))


def _identify(data_set: DataSet) -> tuple[Array, Array, Array, Array]:
    """Who is in queries and gallery, and by which camera, as `rank` takes them."""
    query, gallery = data_set.query, data_set.gallery
    return _numbers(query, "pid"), _numbers(gallery, "pid"), _numbers(query, "camid"), _numbers(gallery, "camid")


def _embed(
    session: Session, pictures: Sequence[Picture], advance: Callable[[int], None], *, mirrored: bool = False
) -> Array:
    embedded = embed_files(session, [picture.path for picture in pictures], advance, mirrored=mirrored)
    if embedded.unreadable:
        raise EvaluationError(
            f"{len(embedded.unreadable)} of {len(pictures)} pictures cannot be read, so no figure would be right;"
            f" first {embedded.unreadable[0][1]}"
        )
    return embedded.embeddings


def _numbers(pictures: Sequence[Picture], key: str) -> Array:
    return np.array([getattr(picture, key) for picture in pictures])

"""Evaluates an engine on a re-identification data set, with FastReID's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fastrt.arrays import Array
from fastrt.datasets.base import DataSet, LabelledImage
from fastrt.engine.session import Session
from fastrt.engine.stream import was_read
from fastrt.errors import EvaluationError
from fastrt.evaluation.arguments import check_choice
from fastrt.evaluation.distances import METRICS, Metric, distance_blocks
from fastrt.evaluation.expansion import expand_queries
from fastrt.evaluation.finite import check_rows, refuse_rows
from fastrt.evaluation.labels import check_labels, number_labels
from fastrt.evaluation.pairs import Pairs
from fastrt.evaluation.ranking import Ranking, rank
from fastrt.evaluation.rerank import RERANKINGS, Reranking, rerank
from fastrt.evaluation.roc import RATES, true_positive_rates
from fastrt.extraction import embed_files
from fastrt.signatures import checked


@dataclass(frozen=True, eq=False)
class Scores(Ranking):
    """Result of an evaluation: the scores of a ranking, from 0 to 1, and its data; ``print(scores)`` shows it.

    Attributes:
        title: data set and settings.
        queries: query embeddings, ``(q, D)`` float32, before query expansion.
        gallery: gallery embeddings, ``(g, D)`` float32.
        pairs: pairs of both by cosine distance, for `measure_roc` and `fastrt.evaluation.threshold.find_threshold`.
    """

    title: str
    queries: Array
    gallery: Array
    pairs: Pairs

    def figures(self) -> dict[str, float]:
        """Return the scores that are usually published, by name."""
        ranks = {f"rank-{k}": float(self.cmc[k - 1]) for k in (1, 5, 10) if k <= len(self.cmc)}
        return {**ranks, "mAP": self.mAP, "mINP": self.mINP}

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {100 * value:.2f}" for name, value in self.figures().items())
        return f"{self.title}: {figures} ({self.valid} queries)"


@checked(EvaluationError, "session", "data_set", "expand", "flip", "advance")
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
        flip: average the embeddings of each image and its mirror image.
        advance: called with the number of images embedded since the last call; ``flip`` embeds every image twice.

    Raises:
        EvaluationError: an image cannot be read, an embedding is not finite, no query has a true match, or the settings
            need an engine built with ``normalize=False``.
    """
    check_choice("evaluate: metric", metric, tuple(METRICS))
    if reranking is not None:
        check_choice("evaluate: re-ranking", reranking, RERANKINGS)
    asked = {"euclidean": metric == "euclidean", "query expansion": expand, "flip": flip}
    if session.info.normalized and any(asked.values()):
        what = next(name for name, is_asked in asked.items() if is_asked)
        raise EvaluationError(
            f"evaluate: {what} with embeddings of unit length; expected embeddings without normalisation, as in"
            " FastReID. Build an engine with --raw (normalize=False)."
        )
    labels = number_labels(data_set.query, data_set.gallery)
    check_labels(labels)
    images = (*data_set.query, *data_set.gallery)
    rows = _embed(session, images, advance)
    if flip:
        rows = (rows + _embed(session, images, advance, mirrored=True)) / 2
    queries, gallery = rows[: len(data_set.query)], rows[len(data_set.query) :]
    expanded = expand_queries(queries, gallery) if expand else (queries, gallery)
    if reranking is None:
        blocks = distance_blocks(*expanded, metric)
    else:
        blocks = iter([(0, rerank(*expanded, reranking, metric))])
    extras = [f"re-ranking {reranking}"] * bool(reranking) + [name for name in asked if asked[name] and name != metric]
    title = ", ".join([data_set.name, metric, *extras])
    pairs = Pairs(partial(distance_blocks, queries, gallery), *labels, flip=flip)
    return Scores(**vars(rank(blocks, *labels)), title=title, queries=queries, gallery=gallery, pairs=pairs)


def measure_roc(pairs: Pairs) -> dict[str, float]:
    """Compute the true positive rates at FastReID's false positive rates, by FastReID's names.

    Raises:
        EvaluationError: there is no pair of one identity, or none of two identities.
    """
    return dict(zip((f"TPR@FPR={rate:.0e}" for rate in RATES), true_positive_rates(pairs), strict=True))


def _embed(
    session: Session, images: Sequence[LabelledImage], advance: Callable[[int], None], *, mirrored: bool = False
) -> Array:
    embedded = embed_files(session, [image.path for image in images], advance, mirrored=mirrored)
    unread = [reason for _, reason in embedded.unreadable if not was_read(reason)]
    if unread:
        raise EvaluationError(
            f"evaluate: {len(unread)} of {len(images)} images cannot be read; expected all. First: {unread[0]}"
        )
    if embedded.unreadable:
        names = [str(path) for path, _ in embedded.unreadable]
        refuse_rows(f"embeddings: {len(names)} of {len(images)} rows are not finite", names)
    check_rows(embedded.embeddings, lambda i: str(images[i].path))
    return embedded.embeddings

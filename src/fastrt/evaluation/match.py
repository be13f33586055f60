"""Finds the nearest gallery images of query images."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastrt.arrays import Array
from fastrt.engine.session import Session
from fastrt.engine.stream import check_any, list_paths, stream_embeddings
from fastrt.errors import EvaluationError
from fastrt.evaluation.arguments import check_real, check_whole
from fastrt.paths import identify
from fastrt.signatures import checked
from fastrt.similarity import DECIMALS, normalize_rows


@dataclass(frozen=True)
class Match:
    """A gallery image of a query.

    Attributes:
        image: the gallery image.
        similarity: cosine of the two embeddings, -1 to 1.
        same_person: whether the similarity is at or above the threshold; None without a threshold.
    """

    image: Path
    similarity: float
    same_person: bool | None


@dataclass(frozen=True)
class QueryMatches:
    """The nearest gallery images of a query, nearest first; ``left_out`` says if its own file is not among them."""

    query: Path
    matches: tuple[Match, ...]
    left_out: bool


@dataclass(frozen=True)
class Matches:
    """Result of a search.

    Attributes:
        queries: each query that has an embedding, in order.
        gallery: number of gallery images that have an embedding.
        files: number of files, each counted once.
        unreadable: files that could not be read, or whose embedding is not finite, each with the reason.
    """

    queries: tuple[QueryMatches, ...]
    gallery: int
    files: int
    unreadable: tuple[tuple[Path, str], ...]


@checked(EvaluationError, "session", "own_files", "advance")
def match(
    session: Session,
    query: Sequence[str | os.PathLike[str]],
    gallery: Sequence[str | os.PathLike[str]],
    top: int = 5,
    *,
    threshold: float | None = None,
    own_files: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Matches:
    """Find the ``top`` nearest gallery images of each query image, by cosine similarity.

    Ties are broken by gallery order. The gallery is embedded in batches and not kept: memory depends on the number of
    queries, not on the gallery.

    Args:
        session: the engine.
        query: image files.
        gallery: image files.
        top: number of gallery images for each query, at least 1.
        threshold: similarity from which two images are taken for one person; see `fastrt.evaluation.threshold`.
        own_files: also rank a query's own file, if it is in the gallery; by default it is left out.
        advance: called with the number of files embedded since the last call, for a progress bar.

    Raises:
        ImageError: no query, or no gallery image, could be read.
        EvaluationError: an argument has another type, ``top`` is no whole number of at least 1, or ``threshold`` no
            finite number.
        EngineError: the session is closed, or the runtime failed.
    """
    top = check_whole("match: top", top, 1)
    threshold = None if threshold is None else check_real("match: threshold", threshold)
    queries, images = list_paths(query), list_paths(gallery)
    asked = session.embed_files(queries, advance)
    unreadable = dict(asked.unreadable)
    nearest = _Nearest(asked.embeddings, asked.paths, top, own_files=own_files)
    seen: list[Path] = []
    for piece in stream_embeddings(session, images):
        nearest.add(piece.embeddings, piece.paths, len(seen))
        seen += piece.paths
        unreadable.update(piece.unreadable)
        advance(piece.files)
    check_any(len(seen), len(images), [(path, unreadable[path]) for path in images if path in unreadable])
    found = tuple(
        QueryMatches(path, tuple(_name(row, seen, threshold) for row in nearest.list(i)), i in nearest.own)
        for i, path in enumerate(asked.paths)
    )
    return Matches(found, len(seen), len({*queries, *images}), tuple(unreadable.items()))


def _name(row: tuple[int, float], seen: Sequence[Path], threshold: float | None) -> Match:
    place, similarity = row
    return Match(seen[place], similarity, None if threshold is None else similarity >= threshold)


class _Nearest:
    """The nearest gallery rows of each query, so far.

    Attributes:
        own: indices of the queries whose own file was left out.
    """

    def __init__(self, rows: Array, paths: Sequence[Path], top: int, *, own_files: bool) -> None:
        self._rows = normalize_rows(rows.astype(np.float64))
        self._similarities = np.empty((len(rows), 0))
        self._places = np.empty((len(rows), 0), np.intp)
        self._top = top
        self.own: set[int] = set()
        self._files: dict[Hashable, list[int]] = {}
        for i, path in enumerate(() if own_files else paths):
            self._files.setdefault(identify(path), []).append(i)

    def add(self, rows: Array, paths: Sequence[Path], start: int) -> None:
        """Compare the next gallery rows; ``start`` is the place of the first."""
        similarities = np.clip(self._rows @ normalize_rows(rows.astype(np.float64)).T, -1, 1)
        for column, path in enumerate(paths):
            own = self._files.get(identify(path), []) if self._files else []
            similarities[own, column] = -np.inf
            self.own.update(own)
        places = np.broadcast_to(np.arange(start, start + len(rows)), similarities.shape)
        # Earlier rows stand first, and the sort is stable.
        similarities = np.concatenate([self._similarities, similarities], axis=1)
        places = np.concatenate([self._places, places], axis=1)
        order = np.argsort(-similarities.round(DECIMALS), axis=1, kind="stable")[:, : self._top]
        self._similarities = np.take_along_axis(similarities, order, 1)
        self._places = np.take_along_axis(places, order, 1)

    def list(self, query: int) -> list[tuple[int, float]]:
        """List the places and the similarities of a query's gallery rows, nearest first."""
        rows = zip(self._places[query].tolist(), self._similarities[query].tolist(), strict=True)
        return [(place, similarity) for place, similarity in rows if np.isfinite(similarity)]

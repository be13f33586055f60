"""Embeds image files in batches: threads decode and resize the next images while the engine runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from fastrt.arrays import Embeddings, Image, Images
from fastrt.engine.session import Session
from fastrt.errors import ImageError
from fastrt.images.preprocess import read_resized

READERS = min(8, os.cpu_count() or 1)
BATCHES_AHEAD = 3
"""Maximum number of batches that are decoded ahead of the engine."""


@dataclass(frozen=True)
class Embedded:
    """Embeddings ``(n, D)`` with the file of each row, and the files that could not be read, each with the reason."""

    embeddings: Embeddings
    paths: tuple[Path, ...]
    unreadable: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class Piece(Embedded):
    """Embeddings of the next files, in their order."""

    @property
    def files(self) -> int:
        """Number of files, including unreadable ones."""
        return len(self.paths) + len(self.unreadable)


@dataclass
class _Batch:
    """Files of a batch that the engine has not returned yet."""

    paths: list[Path] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def embed_files(
    session: Session,
    paths: Sequence[Path],
    advance: Callable[[int], None] = lambda _: None,
    *,
    mirrored: bool = False,
) -> Embedded:
    """Embed image files.

    Args:
        session: the engine.
        paths: image files.
        advance: called with the number of files done since the last call, for a progress bar.
        mirrored: mirror each image left to right after resizing.

    Raises:
        ImageError: none of the files could be read; the message names the first.
    """
    pieces = []
    for piece in stream_embeddings(session, paths, mirrored=mirrored):
        pieces.append(piece)
        advance(piece.files)
    done = [path for piece in pieces for path in piece.paths]
    unreadable = [pair for piece in pieces for pair in piece.unreadable]
    check_any(len(done), len(paths), unreadable)
    return Embedded(np.concatenate([piece.embeddings for piece in pieces]), tuple(done), tuple(unreadable))


def check_any(done: int, files: int, unreadable: Sequence[tuple[Path, str]]) -> None:
    """Raise `ImageError` if ``done``, the number of files that were read, is 0."""
    if not done:
        first = f" First: {unreadable[0][1]}" if unreadable else ""
        raise ImageError(f"embed: 0 of {files} images could be read; expected at least 1.{first}")


def stream_embeddings(session: Session, paths: Sequence[Path], *, mirrored: bool = False) -> Iterator[Piece]:
    """Embed image files a batch at a time, with memory independent of their number.

    Arguments as of `embed_files`.
    """
    pending: deque[_Batch] = deque()
    with ThreadPoolExecutor(READERS) as readers:
        batches = _batches(session, paths, readers, pending, mirrored=mirrored)
        for rows in session.embed_batches(batches):
            batch = pending.popleft()
            yield Piece(rows, tuple(batch.paths), tuple(batch.unreadable))
    for batch in pending:  # the last files, if none of them could be read
        none = np.empty((0, session.info.embedding_dim), np.float32)
        yield Piece(none, (), tuple(batch.unreadable))


def _batches(
    session: Session, paths: Sequence[Path], readers: ThreadPoolExecutor, pending: deque[_Batch], *, mirrored: bool
) -> Iterator[Images]:
    """Yield full batches of readable images; the files of each are appended to ``pending``."""

    def read(path: Path) -> Image | str:
        try:
            image = read_resized(path, session.info.image_size, session.info.resampler)
        except ImageError as error:
            return str(error)
        return image[:, ::-1] if mirrored else image

    coming = iter(paths)
    ahead: deque[tuple[Path, Future[Image | str]]] = deque()

    def look_ahead(count: int) -> None:
        ahead.extend((path, readers.submit(read, path)) for path in islice(coming, count))

    look_ahead(BATCHES_AHEAD * session.batch)
    batch, images = _Batch(), list[Image]()
    try:
        while ahead:
            path, future = ahead.popleft()
            look_ahead(1)
            result = future.result()
            if isinstance(result, str):
                batch.unreadable.append((path, result))
                continue
            batch.paths.append(path)
            images.append(result)
            if len(images) == session.batch:
                pending.append(batch)
                yield np.stack(images)
                batch, images = _Batch(), []
        if batch.paths or batch.unreadable:
            pending.append(batch)
        if images:
            yield np.stack(images)
    finally:
        for _, future in ahead:  # after an error, or when the caller stops
            future.cancel()

"""Embeds image files in batches: threads decode and resize the next images while the engine runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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

    @property
    def files(self) -> int:
        """Number of files, including unreadable ones."""
        return len(self.paths) + len(self.unreadable)


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


def stream_embeddings(session: Session, paths: Sequence[Path], *, mirrored: bool = False) -> Iterator[Embedded]:
    """Embed image files a batch at a time, in order, with memory independent of their number.

    Arguments as in `embed_files`.
    """
    pending: deque[_Files] = deque()
    readers = ThreadPoolExecutor(READERS)
    try:
        images = _read_ahead(session, paths, readers, mirrored=mirrored)
        for rows in session.embed_batches(_stack(images, session.batch, pending)):
            yield Embedded(rows, *pending.popleft())
    finally:
        readers.shutdown(cancel_futures=True)
    for files in pending:  # the last files, if none of them could be read
        yield Embedded(np.empty((0, session.info.embedding_dim), np.float32), *files)


_Files = tuple[tuple[Path, ...], tuple[tuple[Path, str], ...]]
"""Files of a batch that the engine has not returned yet, and unreadable files with the reasons."""


def _read_ahead(
    session: Session, paths: Sequence[Path], readers: ThreadPoolExecutor, *, mirrored: bool
) -> Iterator[tuple[Path, Image | str]]:
    """Yield each file with its resized image, or with the reason why it cannot be read."""

    def read(path: Path) -> Image | str:
        try:
            image = read_resized(path, session.info.image_size, session.info.resampler)
        except ImageError as error:
            return str(error)
        return image[:, ::-1] if mirrored else image

    coming = ((path, readers.submit(read, path)) for path in paths)
    ahead = deque(islice(coming, BATCHES_AHEAD * session.batch))
    while ahead:
        path, future = ahead.popleft()
        ahead.extend(islice(coming, 1))
        yield path, future.result()


def _stack(images: Iterable[tuple[Path, Image | str]], size: int, pending: deque[_Files]) -> Iterator[Images]:
    """Yield batches of ``size`` readable images, and the rest; append the files of each to ``pending``."""
    batch, done, unreadable = list[Image](), list[Path](), list[tuple[Path, str]]()
    for path, image in images:
        if isinstance(image, str):
            unreadable.append((path, image))
            continue
        done.append(path)
        batch.append(image)
        if len(batch) == size:
            pending.append((tuple(done), tuple(unreadable)))
            yield np.stack(batch)
            batch, done, unreadable = [], [], []
    if done or unreadable:
        pending.append((tuple(done), tuple(unreadable)))
    if batch:
        yield np.stack(batch)

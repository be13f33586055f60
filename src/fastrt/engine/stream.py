"""Embeds image files in batches: threads decode and resize the next images while the engine runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastrt.arrays import Embeddings, Image, Images
from fastrt.errors import ImageError
from fastrt.images.preprocess import read_resized
from fastrt.signatures import checked

if TYPE_CHECKING:
    from fastrt.engine.session import Session

READERS = min(8, os.cpu_count() or 1)
BATCHES_AHEAD = 3
"""Maximum number of batches that are decoded ahead of the engine."""

NOT_FINITE = "the engine returns NaN or infinity; expected finite numbers. Run fastrt verify, or build it in fp32."
"""Reason for a file that was read, but whose embedding is not finite."""

Paths = Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Embedded:
    """Embeddings ``(n, D)`` float32 with the file of each row, and the files without an embedding, in order.

    Attributes:
        embeddings: finite embeddings, ``(n, D)`` float32.
        paths: the file of each row.
        unreadable: files that could not be read, or whose embedding is not finite, each with the reason.
    """

    embeddings: Embeddings
    paths: tuple[Path, ...]
    unreadable: tuple[tuple[Path, str], ...]

    @property
    def files(self) -> int:
        """Number of files, including those without an embedding."""
        return len(self.paths) + len(self.unreadable)


@checked(ImageError, "advance", "mirrored")
def embed_files(
    session: Session,
    paths: Paths,
    advance: Callable[[int], None] = lambda _: None,
    *,
    mirrored: bool = False,
) -> Embedded:
    """Embed image files.

    Args:
        session: the engine.
        paths: image files; `fastrt.extraction.find_images` finds those of folders and patterns.
        advance: called with the number of files done since the last call, for a progress bar.
        mirrored: mirror each image left to right after resizing.

    Raises:
        ImageError: there is no file, or none could be read (the message names the first); or ``paths`` is no list of
            paths.
        EngineError: the session is closed, or the runtime failed.
    """
    files = list_paths(paths)
    pieces = []
    for piece in stream_embeddings(session, files, mirrored=mirrored):
        pieces.append(piece)
        advance(piece.files)
    done = [path for piece in pieces for path in piece.paths]
    unreadable = [pair for piece in pieces for pair in piece.unreadable]
    check_any(len(done), len(files), unreadable)
    return Embedded(np.concatenate([piece.embeddings for piece in pieces]), tuple(done), tuple(unreadable))


def list_paths(paths: Paths) -> list[Path]:
    """Convert ``paths`` to a list; raises `ImageError` if it is something else than several paths."""
    if not isinstance(paths, Iterable) or isinstance(paths, str | bytes | os.PathLike):
        hint = " Give [path]." if isinstance(paths, str | os.PathLike) else ""
        raise ImageError(f"paths: {type(paths).__name__}; expected a list of image files.{hint}")
    files = []
    for i, path in enumerate(paths):
        if not isinstance(path, str | os.PathLike):
            raise ImageError(
                f"path {i}: {type(path).__name__}; expected the path of an image file. Give arrays to session(images)."
            )
        files.append(Path(path))
    return files


def check_any(done: int, files: int, unreadable: Sequence[tuple[Path, str]]) -> None:
    """Raise `ImageError` if none of the files could be read; ``done`` is the number of embeddings."""
    if not done and not any(was_read(reason) for _, reason in unreadable):
        first = f" First: {unreadable[0][1]}" if unreadable else ""
        raise ImageError(f"embed: 0 of {files} images could be read; expected at least 1.{first}")


def was_read(reason: str) -> bool:
    """Return True if a file without an embedding was read: the engine failed for it."""
    return reason.endswith(NOT_FINITE)


@checked(ImageError, "mirrored")
def stream_embeddings(session: Session, paths: Sequence[Path], *, mirrored: bool = False) -> Iterator[Embedded]:
    """Embed image files a batch at a time, in order, with memory independent of their number.

    Arguments as in `embed_files`.
    """
    pending: deque[_Files] = deque()
    readers = ThreadPoolExecutor(READERS)
    try:
        images = _read_ahead(session, paths, readers, mirrored=mirrored)
        for rows in session.embed_batches(_stack(images, session.batch, pending)):
            yield _pair(rows, pending.popleft())
    finally:
        readers.shutdown(cancel_futures=True)
    for files in pending:  # the last files, if none of them could be read
        yield _pair(np.empty((0, session.info.embedding_dim), np.float32), files)


_Files = list[tuple[Path, str | None]]
"""Files of a batch that the engine has not returned yet; with the reason if a file could not be read."""


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
    batch, files = list[Image](), _Files()
    for path, image in images:
        if isinstance(image, str):
            files.append((path, image))
            continue
        files.append((path, None))
        batch.append(image)
        if len(batch) == size:
            pending.append(files)
            yield np.stack(batch)
            batch, files = [], []
    if files:
        pending.append(files)
    if batch:
        yield np.stack(batch)


def _pair(rows: Embeddings, files: _Files) -> Embedded:
    """Pair rows with their files, without rows that are not finite."""
    finite = np.asarray(np.isfinite(rows).all(axis=1))
    each = iter(finite.tolist())
    reasons = [(path, reason or (None if next(each) else f"{path}: {NOT_FINITE}")) for path, reason in files]
    paths = tuple(path for path, reason in reasons if reason is None)
    unreadable = tuple((path, reason) for path, reason in reasons if reason is not None)
    return Embedded(rows if finite.all() else rows[finite], paths, unreadable)

"""Writes embeddings to disk as they come, so that an interrupted job can resume.

Until the job is done there are two files beside the output: the rows (``.part``, a ``.npy`` whose header is not yet
final) and the journal, which has one line per batch with the checksum of its rows. A line is written after its rows,
and only rows that match their line are kept on resume.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastrt.engine.stream import Embedded, check_any, was_read
from fastrt.errors import ImageError, OutputError
from fastrt.extraction.job import describe_job
from fastrt.extraction.journal import Batch, Journal
from fastrt.extraction.outputs import check_outputs, describe_rows, write_outputs
from fastrt.files import refuse_inputs, writing
from fastrt.images.preprocess import read_image
from fastrt.signatures import checked
from fastrt.targets.engine_info import EngineInfo

logger = logging.getLogger("fastrt")

ROWS, JOURNAL = ".part", ".journal"
HEADER_BYTES = 128
"""Size of the header of a ``.npy`` file with two axes; NumPy leaves room for more rows."""


class Store:
    """The unfinished embeddings of a list of files; a context manager.

    Attributes:
        files: number of files done, including those without an embedding.
        rows: number of embeddings.
        unreadable: files without an embedding, each with the reason.
    """

    @checked(OutputError, "path", "restart")
    def __init__(
        self,
        path: str | os.PathLike[str],
        info: EngineInfo,
        images: Sequence[Path],
        *,
        engine: str | os.PathLike[str] | None = None,
        device: str | None = None,
        restart: bool = False,
    ) -> None:
        """Start a job, or resume one of the same engine and the same files.

        Args:
            path: the output ``.npy``.
            info: description of the engine.
            images: the files, in order.
            engine: the engine's file. Without it, engines whose descriptions are equal are taken for the same.
            device: the device that the engine runs on; None for the target's default.
            restart: discard an unfinished job, of whatever engine and files.

        Raises:
            OutputError: ``path`` is not named ``.npy``, cannot be written, or is one of ``images``; an unfinished job
                of another engine, device or list of files is there and ``restart`` is False; a file beside it was not
                written by fastrt; or another process writes the same output.
        """
        self.path = Path(path)
        self.files = 0
        self.rows = 0
        self.unreadable: list[tuple[Path, str]] = []
        self._info = info
        self._images = images
        self._names: list[Path] = []
        self._row_bytes = 4 * info.embedding_dim
        with writing(self.path):
            refuse_inputs([self.path], [engine, *(image for image in images if image.suffix == self.path.suffix)])
            check_outputs(self.path)
            self._rows_path = self.path.with_name(self.path.name + ROWS)
            job = describe_job(info, images, engine, device)
            journal_path = self.path.with_name(self.path.name + JOURNAL)
            self._journal = Journal(journal_path, job, self._rows_path, restart=restart)
            try:
                if self._rows_path.exists() and self._rows_path.stat().st_nlink > 1:
                    self._rows_path.unlink()  # the job was killed after its end: these are the rows of the output
                self._rows_file = self._rows_path.open("r+b" if self._rows_path.exists() else "w+b")
                self._rows_file.seek(HEADER_BYTES)
                self._resume()
            except BaseException:
                self._journal.close()
                raise

    def append(self, piece: Embedded) -> None:
        """Append the embeddings of the next files.

        Raises:
            OutputError: the files cannot be written, for example because the disk is full.
        """
        waiting, unreadable = deque(piece.unreadable), dict[int, str]()
        for place, path in enumerate(self._images[self.files : self.files + piece.files]):
            if waiting and waiting[0][0] == path:
                unreadable[place] = waiting.popleft()[1]
        rows = np.ascontiguousarray(piece.embeddings, "<f4").tobytes()
        batch = Batch(len(piece.embeddings), zlib.crc32(rows), unreadable)
        with writing(self.path):
            self._rows_file.write(rows)
            self._rows_file.flush()
            self._journal.append(batch)
        self._count(batch)

    def finish(self) -> tuple[Path, Path]:
        """Write the ``.npy`` and the names, and delete the unfinished files. Returns as `save_embeddings`.

        Raises:
            ImageError: none of the files could be read.
            OutputError: a file cannot be written, or a ``.json`` or ``.csv`` that this class did not write appeared
                beside the output. The job can be resumed.
        """
        with writing(self.path):
            try:
                check_any(self.rows, self.files, self.unreadable)
            except ImageError:
                self._rows_file.close()
                self._rows_path.unlink()
                self._journal.remove()
                raise
            check_outputs(self.path)  # files that appeared meanwhile
            self._write_header()
            os.fsync(self._rows_file.fileno())
            self._rows_file.close()
            texts = describe_rows(self._names, self.unreadable, self.path, self._info)
            write_outputs(self._rows_path, texts, self.path)
            self._rows_path.unlink(missing_ok=True)
            self._journal.remove()
        names, table = texts
        return names, table

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self.path):  # closing writes what a full disk did not take before
            try:
                self._rows_file.close()
            finally:
                self._journal.close()

    @property
    def _end(self) -> int:
        """Size of the file of rows, in bytes, with the rows that are done."""
        return HEADER_BYTES + self.rows * self._row_bytes

    def _resume(self) -> None:
        """Count the batches of earlier runs whose rows are there, and cut what is behind them."""
        kept, again, have = 0, None, os.fstat(self._rows_file.fileno()).st_size
        for batch in self._journal.batches:
            size = batch.rows * self._row_bytes
            if self.files + batch.files > len(self._images) or self._end + size > have:
                break
            if zlib.crc32(self._rows_file.read(size)) != batch.checksum:
                break
            if again := self._find_readable(batch):
                logger.warning("%s: can be read now; the images from here on are embedded again", again)
                break
            self._count(batch)
            kept += 1
        if not again and (self._journal.damaged or kept < len(self._journal.batches)):
            logger.warning(
                "%s: damaged after %d of %d images; the others are embedded again",
                self._journal.path,
                self.files,
                len(self._images),
            )
        self._journal.keep(kept)
        self._rows_file.truncate(self._end)
        self._rows_file.seek(0, os.SEEK_END)

    def _find_readable(self, batch: Batch) -> Path | None:
        """Return the first of the next files that could not be read when its row was due, and can be now."""
        for place, reason in sorted(batch.unreadable.items()):
            path = self._images[self.files + place]
            if not was_read(reason):
                with suppress(ImageError):
                    read_image(path)
                    return path
        return None

    def _write_header(self) -> None:
        """Write the header of a ``.npy`` with the rows that are done."""
        self._rows_file.seek(0)
        shape = (self.rows, self._info.embedding_dim)
        np.lib.format.write_array_header_1_0(self._rows_file, {"descr": "<f4", "fortran_order": False, "shape": shape})

    def _count(self, batch: Batch) -> None:
        """Count the next files as done."""
        for place, path in enumerate(self._images[self.files : self.files + batch.files]):
            if place in batch.unreadable:
                self.unreadable.append((path, batch.unreadable[place]))
            else:
                self._names.append(path)
        self.rows += batch.rows
        self.files += batch.files

"""Writes embeddings to disk as they come, so that an interrupted job can resume.

Until the job is done there are two files beside the output: the raw rows, and a journal with one line per batch. A line
is written after its rows, so all rows in the journal exist. Rows that are not in the journal are truncated on resume.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastrt.errors import OutputError
from fastrt.extraction.stream import Embedded, check_any
from fastrt.files import ESCAPED, check_place, writing, written_whole
from fastrt.targets.engine_info import EngineInfo

ROWS, JOURNAL = ".part", ".journal"


class Store:
    """The unfinished embeddings of a list of files; a context manager.

    Attributes:
        files: number of files done, including unreadable ones.
        rows: number of embeddings.
        unreadable: files that could not be read, each with the reason.
    """

    def __init__(self, path: str | os.PathLike[str], info: EngineInfo, images: Sequence[Path]) -> None:
        """Start a job, or resume one of the same engine and the same files.

        Args:
            path: the output ``.npy``.
            info: description of the engine.
            images: the files, in order.

        Raises:
            OutputError: ``path`` is not named ``.npy``, or cannot be written.
        """
        self.path = Path(path)
        _check_npy(self.path)
        check_place(self.path)
        self.files = 0
        self.rows = 0
        self.unreadable: list[tuple[Path, str]] = []
        self._info = info
        self._images = images
        self._names: list[Path] = []
        self._row_bytes = 4 * info.embedding_dim
        self._rows_path = self.path.with_name(self.path.name + ROWS)
        self._journal_path = self.path.with_name(self.path.name + JOURNAL)
        with writing(self.path):
            self._resume()
            self._rows_file = self._rows_path.open("ab")
            self._rows_file.truncate(self.rows * self._row_bytes)
            self._journal = self._journal_path.open("a", encoding="utf-8")

    def append(self, piece: Embedded) -> None:
        """Append the embeddings of the next files.

        Raises:
            OutputError: the files cannot be written, for example because the disk is full.
        """
        unreadable = {str(path): reason for path, reason in piece.unreadable}
        with writing(self.path):
            self._rows_file.write(np.ascontiguousarray(piece.embeddings, np.float32).tobytes())
            self._rows_file.flush()
            self._journal.write(json.dumps({"rows": len(piece.paths), "unreadable": unreadable}) + "\n")
            self._journal.flush()
        self._count(len(piece.paths), unreadable)

    def finish(self) -> tuple[Path, Path]:
        """Write the ``.npy`` and the names, and delete the unfinished files. Returns as `save_embeddings`.

        Raises:
            ImageError: none of the files could be read.
            OutputError: a file cannot be written.
        """
        self._close()
        try:
            check_any(self.rows, self.files, self.unreadable)
            rows = np.memmap(self._rows_path, np.float32, "r", shape=(self.rows, self._info.embedding_dim))
            return save_embeddings(Embedded(rows, tuple(self._names), tuple(self.unreadable)), self.path, self._info)
        finally:
            for path in (self._rows_path, self._journal_path):
                with suppress(OSError):
                    path.unlink()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _resume(self) -> None:
        """Read the journal of the same job, or start a new journal."""
        lines = self._journal_path.read_text("utf-8", "replace").splitlines() if self._journal_path.is_file() else []
        have = self._rows_path.stat().st_size if self._rows_path.is_file() else 0
        kept = [_describe(self._info, self._images)]
        for line in lines[1:] if lines[:1] == kept else ():
            piece = self._parse(line, have)
            if piece is None:
                break
            self._count(*piece)
            kept.append(line)
        self._journal_path.write_text("\n".join(kept) + "\n", "utf-8")

    def _parse(self, line: str, have: int) -> tuple[int, dict[str, str]] | None:
        """Read the numbers of rows and the unreadable files of the next batch from a line of the journal.

        Returns None for a line that is damaged, because the process stopped while writing it, and for one that does not
        fit the next files or the ``have`` bytes of rows.
        """
        try:
            content = json.loads(line)
            rows, unreadable = content["rows"], content["unreadable"]
        except (ValueError, RecursionError, TypeError, KeyError):
            return None
        if not isinstance(rows, int) or rows < 0 or not isinstance(unreadable, dict):
            return None
        count = rows + len(unreadable)
        files = list(map(str, self._images[self.files : self.files + count]))
        is_there = (self.rows + rows) * self._row_bytes <= have and len(files) == count
        return (rows, unreadable) if is_there and unreadable.keys() <= set(files) else None

    def _count(self, rows: int, unreadable: Mapping[str, str]) -> None:
        """Count the next files as done."""
        files = self._images[self.files : self.files + rows + len(unreadable)]
        self._names += [path for path in files if str(path) not in unreadable]
        self.unreadable += [(path, unreadable[str(path)]) for path in files if str(path) in unreadable]
        self.rows += rows
        self.files += len(files)

    def _close(self) -> None:
        self._rows_file.close()
        self._journal.close()


def _describe(info: EngineInfo, images: Sequence[Path]) -> str:
    """Describe a job by its engine and by names, sizes and times of its files. A changed file starts a new job."""
    digest = hashlib.sha256()
    for path in images:
        with suppress(OSError):  # reported when the file is read
            status = path.stat()
            digest.update(os.fsencode(path) + f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return json.dumps({"engine": info.to_text(), "files": len(images), "digest": digest.hexdigest()})


def _check_npy(path: Path) -> None:
    if path.suffix.lower() != ".npy":
        raise OutputError(
            f"{path}: {f'suffix {path.suffix}' if path.suffix else 'no suffix'}; expected .npy. Rename the output."
        )


def save_embeddings(embedded: Embedded, path: str | os.PathLike[str], info: EngineInfo) -> tuple[Path, Path]:
    r"""Write embeddings as ``.npy``, with file names as ``.json`` and ``.csv`` beside it. Returns these two paths.

    The ``.json`` also describes the engine and lists the files that could not be read. A byte of a name that is not
    UTF-8 is escaped as ``\udcff``. A name read from the ``.json`` opens the file.

    Raises:
        OutputError: a file cannot be written, or ``path`` is not named ``.npy``.
    """
    path = Path(path)
    _check_npy(path)
    images = list(map(str, embedded.paths))
    content = {
        "images": images,
        "unreadable": [{"image": str(image), "reason": reason} for image, reason in embedded.unreadable],
        "engine": info.model_dump(exclude={"spec"}, exclude_none=True),
    }
    # The embeddings are moved last, so they never exist without their names.
    with written_whole(path) as new_path:
        with new_path.open("wb") as file:
            np.save(file, embedded.embeddings)
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        new_path.with_suffix(".json").write_text(text, "utf-8", ESCAPED)
        with new_path.with_suffix(".csv").open("w", encoding="utf-8", errors=ESCAPED, newline="") as table:
            writer = csv.writer(table)
            writer.writerow(("row", "image"))
            writer.writerows(enumerate(images))
    return path.with_suffix(".json"), path.with_suffix(".csv")

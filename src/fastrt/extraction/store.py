"""Writes embeddings to disk as they come, so that an interrupted job can resume.

Until the job is done there are two files beside the output: the raw rows, and a journal with one line per piece. A line
is written after its rows, so all rows in the journal exist. Rows that are not in the journal are truncated on resume.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fastrt.errors import OutputError
from fastrt.extraction.stream import Embedded, Piece, check_any
from fastrt.files import ESCAPED, check_place, written_whole
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
        check_npy(self.path)
        check_place(self.path)
        self.files = 0
        self.rows = 0
        self.unreadable: list[tuple[Path, str]] = []
        self._info = info
        self._images = images
        self._names: list[Path] = []
        self._rows_path = self.path.with_name(self.path.name + ROWS)
        self._journal_path = self.path.with_name(self.path.name + JOURNAL)
        header = _describe(info, images)
        try:
            self._resume(header)
            self._rows_file = self._rows_path.open("ab")
            self._rows_file.truncate(self.rows * self._row_bytes)
            self._journal = self._journal_path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror or error}); expected a writable folder with free"
                " space."
            ) from error

    def append(self, piece: Piece) -> None:
        """Append the embeddings of a piece.

        Raises:
            OutputError: the files cannot be written, for example because the disk is full.
        """
        line = {"rows": len(piece.paths), "unreadable": {str(path): reason for path, reason in piece.unreadable}}
        try:
            self._rows_file.write(np.ascontiguousarray(piece.embeddings, np.float32).tobytes())
            self._rows_file.flush()
            self._journal.write(json.dumps(line) + "\n")
            self._journal.flush()
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror or error}); expected a writable folder with free"
                " space."
            ) from error
        self._count(line)

    def finish(self) -> tuple[Path, Path]:
        """Write the ``.npy`` and the names, and delete the unfinished files. Returns as `save_embeddings`.

        Raises:
            ImageError: none of the files could be read.
            OutputError: a file cannot be written.
        """
        self._close()
        try:
            check_any(self.rows, self.files, self.unreadable)
            with written_whole(self.path) as new_path:
                with new_path.open("wb") as file, self._rows_path.open("rb") as rows:
                    shape = (self.rows, self._info.embedding_dim)
                    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
                    shutil.copyfileobj(rows, file, 1 << 20)
                names, table = (new_path.with_suffix(suffix) for suffix in (".json", ".csv"))
                write_names(names, table, self._names, self.unreadable, self._info)
        finally:
            self._remove()
        return self.path.with_suffix(".json"), self.path.with_suffix(".csv")

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def _row_bytes(self) -> int:
        return 4 * self._info.embedding_dim

    def _resume(self, header: dict[str, Any]) -> None:
        """Read the journal of the same job, or start a new journal."""
        lines = self._journal_path.read_text("utf-8", "replace").splitlines() if self._journal_path.is_file() else []
        have = self._rows_path.stat().st_size if self._rows_path.is_file() else 0
        kept = lines[:1] if lines and _read_line(lines[0]) == header else []
        for text in lines[1:] if kept else ():
            line = _read_line(text)
            if line is None or not self._fits(line, have):
                break  # incomplete, because the process stopped while writing it
            self._count(line)
            kept.append(text)
        self._journal_path.write_text("\n".join(kept or [json.dumps(header)]) + "\n", "utf-8")

    def _fits(self, line: dict[str, Any], have: int) -> bool:
        """Check that a line fits the next piece: its rows are within ``have`` bytes, its files are the next ones."""
        rows, unreadable = line.get("rows"), line.get("unreadable")
        if not isinstance(rows, int) or rows < 0 or not isinstance(unreadable, dict):
            return False
        files = list(map(str, self._images[self.files : self.files + rows + len(unreadable)]))
        there = (self.rows + rows) * self._row_bytes <= have
        return there and len(files) == rows + len(unreadable) and unreadable.keys() <= set(files)

    def _count(self, line: dict[str, Any]) -> None:
        unreadable = line["unreadable"]
        files = self._images[self.files : self.files + line["rows"] + len(unreadable)]
        self._names += [path for path in files if str(path) not in unreadable]
        self.unreadable += [(path, unreadable[str(path)]) for path in files if str(path) in unreadable]
        self.rows += line["rows"]
        self.files += len(files)

    def _close(self) -> None:
        self._rows_file.close()
        self._journal.close()

    def _remove(self) -> None:
        for path in (self._rows_path, self._journal_path):
            with suppress(OSError):
                path.unlink()


def _describe(info: EngineInfo, images: Sequence[Path]) -> dict[str, Any]:
    """Describe a job by its engine and by names, sizes and times of its files. A changed file starts a new job."""
    digest = hashlib.sha256()
    for path in images:
        with suppress(OSError):  # reported when the file is read
            status = path.stat()
            digest.update(os.fsencode(path) + f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return {"engine": info.to_text(), "files": len(images), "digest": digest.hexdigest()}


def _read_line(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def check_npy(path: Path) -> None:
    """Raise `OutputError` unless a path is named ``.npy``."""
    if path.suffix.lower() != ".npy":
        raise OutputError(
            f"{path}: {f'suffix {path.suffix}' if path.suffix else 'no suffix'}; expected .npy. Rename the output."
        )


def save_embeddings(embedded: Embedded, path: str | os.PathLike[str], info: EngineInfo) -> tuple[Path, Path]:
    """Write embeddings as ``.npy``, with file names as ``.json`` and ``.csv`` beside it. Returns these two paths.

    The ``.json`` also describes the engine and lists the files that could not be read.

    Raises:
        OutputError: a file cannot be written, or ``path`` is not named ``.npy``.
    """
    path = Path(path)
    check_npy(path)
    # The embeddings are moved last, so they never exist without their names.
    with written_whole(path) as new_path:
        with new_path.open("wb") as file:
            np.save(file, embedded.embeddings)
        names, table = (new_path.with_suffix(suffix) for suffix in (".json", ".csv"))
        write_names(names, table, embedded.paths, embedded.unreadable, info)
    return path.with_suffix(".json"), path.with_suffix(".csv")


def write_names(
    names: Path, table: Path, paths: Sequence[Path], unreadable: Sequence[tuple[Path, str]], info: EngineInfo
) -> None:
    r"""Write the file name of each row.

    A byte that is not UTF-8 is escaped as ``\udcff``. A name read from the ``.json`` opens the file.
    """
    images = [str(image) for image in paths]
    content = {
        "images": images,
        "unreadable": [{"image": str(image), "reason": reason} for image, reason in unreadable],
        "engine": info.model_dump(exclude={"spec"}, exclude_none=True),
    }
    names.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8", ESCAPED)
    with table.open("w", encoding="utf-8", errors=ESCAPED, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "image"))
        writer.writerows(enumerate(images))

"""Embeddings on disk, written as they come, so that an interrupted job goes on where it stood.

Until all is done there are two files beside the one that is wanted: the rows as bare numbers, and a journal with a line
for each piece. A line is written after its rows are; so what a journal tells of is there, and rows of which it tells
nothing are forgotten.
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
    """The unfinished embeddings of some files; a context manager.

    Attributes:
        files: how many files are done, those included that could not be read.
        rows: how many have embeddings.
        unreadable: those that could not be read, each with the reason.
    """

    def __init__(self, path: str | os.PathLike[str], info: EngineInfo, images: Sequence[Path]) -> None:
        """Begin, or go on where the same engine left the same files.

        Args:
            path: the ``.npy`` to be.
            info: of the engine.
            images: the files, in order.

        Raises:
            OutputError: it is not named ``.npy``, or nothing can be written there.
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
            self._go_on(header)
            self._rows_file = self._rows_path.open("ab")
            self._rows_file.truncate(self.rows * self._row_bytes)
            self._journal = self._journal_path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def append(self, piece: Piece) -> None:
        """Keep a piece.

        Raises:
            OutputError: the disk is full, say.
        """
        line = {"rows": len(piece.paths), "unreadable": {str(path): reason for path, reason in piece.unreadable}}
        try:
            self._rows_file.write(np.ascontiguousarray(piece.embeddings, np.float32).tobytes())
            self._rows_file.flush()
            self._journal.write(json.dumps(line) + "\n")
            self._journal.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._count(line)

    def finish(self) -> tuple[Path, Path]:
        """Write the ``.npy`` and its names, and remove what was unfinished; returns the names as `save_embeddings`.

        Raises:
            ImageError: not one of the files could be read.
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

    def _go_on(self, header: dict[str, Any]) -> None:
        """Read the journal, if it is of this very job; else begin a new one."""
        lines = self._journal_path.read_text("utf-8", "replace").splitlines() if self._journal_path.is_file() else []
        have = self._rows_path.stat().st_size if self._rows_path.is_file() else 0
        kept = lines[:1] if lines and _read_line(lines[0]) == header else []
        for text in lines[1:] if kept else ():
            line = _read_line(text)
            if line is None or not self._fits(line, have):
                break  # torn, as the machine stopped in the middle
            self._count(line)
            kept.append(text)
        self._journal_path.write_text("\n".join(kept or [json.dumps(header)]) + "\n", "utf-8")

    def _fits(self, line: dict[str, Any], have: int) -> bool:
        """Whether a line can be of the next piece: its rows are among ``have`` bytes, its files among those left."""
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
    """What a job is: the engine, and the files with their sizes and times, so that changed ones are read again."""
    digest = hashlib.sha256()
    for path in images:
        with suppress(OSError):  # reading it will say so
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
        raise OutputError(f"{path} has the suffix {path.suffix or 'of nothing'}; embeddings are written as .npy")


def save_embeddings(embedded: Embedded, path: str | os.PathLike[str], info: EngineInfo) -> tuple[Path, Path]:
    """Write a ``.npy`` of the embeddings, and beside it their names as ``.json`` and as ``.csv``; returns those two.

    The ``.json`` also says which engine made them and which files could not be read.

    Raises:
        OutputError: a file cannot be written, or ``path`` is not named ``.npy``.
    """
    path = Path(path)
    check_npy(path)
    # The embeddings come last: where they stand, their names do too.
    with written_whole(path) as new_path:
        with new_path.open("wb") as file:
            np.save(file, embedded.embeddings)
        names, table = (new_path.with_suffix(suffix) for suffix in (".json", ".csv"))
        write_names(names, table, embedded.paths, embedded.unreadable, info)
    return path.with_suffix(".json"), path.with_suffix(".csv")


def write_names(
    names: Path, table: Path, paths: Sequence[Path], unreadable: Sequence[tuple[Path, str]], info: EngineInfo
) -> None:
    r"""Write which row is which file's.

    A name that is no UTF-8 has its bytes as ``\udcff``, say; from the ``.json`` Python reads what it opens the file by.
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

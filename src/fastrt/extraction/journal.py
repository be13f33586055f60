"""The journal of an unfinished job: its description, then one line per batch. Only one process writes it at a time."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from fastrt.errors import OutputError
from fastrt.extraction.job import Job, is_job, parse_job, parse_json

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True)
class Batch:
    """One batch: its number of rows, their CRC-32, and the files without a row by their place in the batch."""

    rows: int
    checksum: int
    unreadable: dict[int, str]

    @property
    def files(self) -> int:
        """Number of files."""
        return self.rows + len(self.unreadable)


class Journal:
    """A journal, open and locked.

    Attributes:
        batches: the batches of earlier runs, up to the first damaged line.
        damaged: number of the first damaged line, from 1; None if there is none. A last line that was cut short
            because the process stopped is not counted.
    """

    def __init__(self, path: Path, job: Job, rows_path: Path, *, restart: bool) -> None:
        """Open the journal of ``job``, or start it.

        Args:
            path: the journal.
            job: the job.
            rows_path: the rows that the journal describes; emptied when the job starts over.
            restart: start over even if there is an unfinished job, of whatever engine and files.

        Raises:
            OutputError: the journal belongs to another job, another process writes it, or a file of this name is not a
                journal of fastrt.
            OSError: the file cannot be read or written.
        """
        if rows_path.exists() and not path.exists():
            raise _not_ours(rows_path)
        self.path = path
        self._file = path.open("a+b")
        try:
            self._lock()
            self._ends: list[int] = []
            self.batches: list[Batch] = []
            self.damaged: int | None = None
            self._read(job, rows_path, restart)
        except BaseException:
            self._file.close()
            raise

    def keep(self, count: int) -> None:
        """Cut the lines after the first ``count`` batches."""
        self._file.truncate(self._ends[count])

    def append(self, batch: Batch) -> None:
        """Append a line; the rows must be in their file."""
        line = {**asdict(batch), "unreadable": list(batch.unreadable.items())}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the journal, so that another process may continue it."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the journal."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(
                    f"{self.path}: in use by another process; expected one process per output."
                    " Wait until it ends, or name another output."
                ) from None

    def _read(self, job: Job, rows_path: Path, restart: bool) -> None:
        self._file.seek(0)
        *lines, torn = self._file.read().split(b"\n")
        if not lines and (rows_path.exists() or not b'{"job": {'.startswith(torn[:9])):
            raise _not_ours(self.path)  # a journal's first line is written before the first row
        if lines:
            content = parse_json(lines[0].decode("utf-8", "replace"))
            if not is_job(content):
                raise _not_ours(self.path)
            found = parse_job(content)
            if not restart and not job.is_same(found):
                raise job.refuse(found, self.path)
        if restart or not lines:
            self._start(job, rows_path)
            return
        self._ends.append(len(lines[0]) + 1)
        for number, line in enumerate(lines[1:], 2):
            batch = _parse(line)
            if batch is None:
                self.damaged = number
                return
            self.batches.append(batch)
            self._ends.append(self._ends[-1] + len(line) + 1)

    def _start(self, job: Job, rows_path: Path) -> None:
        rows_path.unlink(missing_ok=True)
        self._file.truncate(0)
        line = json.dumps(job.to_content()).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._ends.append(len(line))


def _parse(line: bytes) -> Batch | None:
    """Parse a line; None if it is damaged."""
    content = parse_json(line.decode("utf-8", "replace"))
    try:
        rows, checksum, pairs = content["rows"], content["checksum"], content["unreadable"]
        unreadable = dict(pairs)
    except (KeyError, TypeError, ValueError):
        return None
    numbers = (rows, checksum, *unreadable)
    if not all(type(number) is int and number >= 0 for number in numbers):
        return None
    if len(unreadable) != len(pairs) or not all(isinstance(reason, str) for reason in unreadable.values()):
        return None
    batch = Batch(rows, checksum, unreadable)
    return batch if all(place < batch.files for place in unreadable) else None


def _not_ours(path: Path) -> OutputError:
    return OutputError(
        f"{path}: exists, and is not an unfinished job of fastrt embed; expected no other file of this name."
        " Name another output, or move the file."
    )

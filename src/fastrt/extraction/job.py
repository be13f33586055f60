"""The description of a job: the engine and the files that embeddings on disk belong to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fastrt.errors import OutputError
from fastrt.files import ESCAPED
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.registry import SUFFIXES
from fastrt.targets.table import ROWS

FORMAT = 2


@dataclass(frozen=True)
class Job:
    """An engine, a device and a list of files. Rows of different jobs are never mixed.

    Attributes:
        engine: the engine, for messages.
        identity: SHA-256 of the engine's files; if its path is unknown, of its metadata.
        device: the device; None if unknown.
        files: number of files.
        first: name of the first file.
        names: SHA-256 of the names of the files, in order.
        contents: SHA-256 of the sizes and the modification times of the files.
        format: version of this description.
    """

    engine: str
    identity: str
    device: str | None
    files: int
    first: str
    names: str
    contents: str
    format: int = FORMAT

    def to_content(self) -> dict[str, Any]:
        """Return the description as `parse_job` reads it."""
        return {"job": asdict(self)}

    def is_same(self, other: Job | None) -> bool:
        """Return True if the rows of both jobs are the same; engines are compared by content, not by name."""
        keys = ("identity", "device", "names", "contents")
        return other is not None and all(getattr(self, key) == getattr(other, key) for key in keys)

    def refuse(self, other: Job | None, journal: Path) -> OutputError:
        """Return the error for the ``journal`` of the job ``other``."""
        return OutputError(
            f"{journal}: unfinished embeddings of {self._differences(other)}; expected those of the same engine and"
            " files. Name another output, or start over with --restart (restart=True)."
        )

    def _differences(self, other: Job | None) -> str:
        if other is None:
            return "an unknown engine and unknown files"
        if other.identity != self.identity:
            return f"another engine ({other.engine})"
        if other.device != self.device:
            return f"another device ({other.device})"
        if other.names != self.names:
            return f"another list of files ({other.files} files, first {other.first})"
        return "the same files before they changed (in size or modification time)"


def describe_job(
    info: EngineInfo, images: Sequence[Path], engine: str | os.PathLike[str] | None, device: str | None
) -> Job:
    """Describe the job of embedding ``images``; ``engine`` is the engine's file, if known."""
    identity = hashlib.sha256()
    name = f"{info.target} {info.precision or ''}".strip()
    if engine is None:
        identity.update(info.to_text().encode())
    else:
        name = f"{_escape(engine)}, {name}"
        row = ROWS[SUFFIXES[Path(engine).suffix.lower()]]
        device = device or row.device
        for file in row.list_files(Path(engine)):
            _add_content(identity, file)
    if info.fingerprint is not None:
        name = f"{name}, network {info.fingerprint[:12]}"
    names, contents = hashlib.sha256(), hashlib.sha256()
    for path in images:
        names.update(os.fsencode(path) + b"\0")
        contents.update(_describe_content(path))
    first = _escape(images[0]) if images else ""
    return Job(name, identity.hexdigest(), device, len(images), first, names.hexdigest(), contents.hexdigest())


def is_job(content: object) -> bool:
    """Return True if ``content`` is a job, of whatever version of fastrt; anything else is a file of someone else."""
    job = content.get("job") if isinstance(content, Mapping) else None
    return isinstance(job, dict) and {"engine", "identity", "files", "format"} <= job.keys()


def parse_job(content: object) -> Job | None:
    """Read ``{"job": ...}``; None if it is not a job of this version of fastrt."""
    job = content["job"] if isinstance(content, Mapping) and is_job(content) else {}
    if job.keys() != {field.name for field in fields(Job)} or job["format"] != FORMAT:
        return None
    return Job(**job)


def parse_json(text: str) -> Any:
    """Parse JSON; None if it is damaged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _add_content(digest: Any, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)


def _describe_content(path: Path) -> bytes:
    try:
        status = path.stat()
    except OSError:  # reported when the file is read
        return b"-\0"
    return f"{status.st_size} {status.st_mtime_ns}\0".encode()


def _escape(path: str | os.PathLike[str]) -> str:
    return os.fspath(path).encode("utf-8", ESCAPED).decode()

"""The finished outputs: a ``.npy`` of embeddings, and the names of its rows as ``.json`` and ``.csv``."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fastrt.engine.stream import Embedded
from fastrt.errors import OutputError
from fastrt.extraction.job import Job, parse_job, parse_json
from fastrt.files import ESCAPED, check_place, writing, written_whole
from fastrt.targets.engine_info import EngineInfo

HEADER = ("row", "image")
"""First row of the ``.csv``."""


def save_embeddings(embedded: Embedded, path: str | os.PathLike[str], info: EngineInfo) -> tuple[Path, Path]:
    r"""Write embeddings as ``.npy``, with file names as ``.json`` and ``.csv`` beside it. Returns these two paths.

    The ``.json`` also describes the engine and lists the files without an embedding. A byte of a name that is not
    UTF-8 is escaped as ``\udcff``. A name read from the ``.json`` opens the file. Earlier outputs of this function
    are replaced; other files of these names are not.

    Raises:
        OutputError: a file cannot be written, ``path`` is not named ``.npy``, or one of the three files exists and was
            not written by this function.
    """
    path = Path(path)
    with writing(path):
        check_outputs(path)
    # The embeddings are moved last, so they never exist without their names.
    with written_whole(path) as new_path:
        with new_path.open("wb") as file:
            np.save(file, embedded.embeddings)
        for companion, text in describe_rows(embedded.paths, embedded.unreadable, new_path, info).items():
            companion.write_bytes(text)
    return path.with_suffix(".json"), path.with_suffix(".csv")


def describe_rows(
    paths: Sequence[Path],
    unreadable: Sequence[tuple[Path, str]],
    output: Path,
    info: EngineInfo,
    job: Job | None = None,
) -> dict[Path, bytes]:
    """Return the content of the ``.json`` and of the ``.csv`` beside ``output``, by path."""
    images = list(map(str, paths))
    content = {
        "images": images,
        "unreadable": [{"image": str(image), "reason": reason} for image, reason in unreadable],
        "engine": info.model_dump(exclude={"spec"}, exclude_none=True),
        **(job.to_content() if job else {}),
    }
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(HEADER)
    writer.writerows(enumerate(images))
    texts = {".json": json.dumps(content, indent=1, ensure_ascii=False) + "\n", ".csv": table.getvalue()}
    return {output.with_suffix(suffix): text.encode("utf-8", ESCAPED) for suffix, text in texts.items()}


def move_outputs(rows: Path, texts: Mapping[Path, bytes], output: Path) -> None:
    """Move finished rows to ``output`` beside the ``texts``, as `describe_rows` returns them.

    An old ``output`` is deleted first and the new one is moved last, so rows never stand beside the names of others.
    If the process stops between, the job can be resumed.
    """
    new = {path: path.with_name(f".{path.name}.part") for path in texts}
    try:
        for path, text in texts.items():
            new[path].write_bytes(text)
        output.unlink(missing_ok=True)
        for path in texts:
            new[path].replace(path)
        rows.replace(output)
    finally:
        for path in new.values():
            path.unlink(missing_ok=True)


def check_outputs(path: Path) -> Job | None:
    """Check that ``path`` can be written without replacing a file of someone else.

    Returns:
        The job of earlier outputs, if there are any and they say it.

    Raises:
        OutputError: ``path`` is not named ``.npy`` or cannot be created, or one of the three files exists and was not
            written by `save_embeddings`.
    """
    if path.suffix.lower() != ".npy":
        suffix = f"suffix {path.suffix}" if path.suffix else "no suffix"
        raise OutputError(f"{path}: {suffix}; expected .npy. Rename the output.")
    check_place(path)
    names, table = path.with_suffix(".json"), path.with_suffix(".csv")
    content = _read_names(names)
    if table.exists() and not _is_table(table):
        raise _not_ours(table)
    for file in (names, table, path):
        if file.exists() and content is None:
            raise _not_ours(file)
    return parse_job(content)


def _read_names(path: Path) -> dict[str, object] | None:
    """Read a ``.json`` of `save_embeddings`; None if there is none, or if it is another file."""
    if not path.is_file():
        return None
    content = parse_json(path.read_text("utf-8", "replace"))
    return content if isinstance(content, dict) and {"images", "unreadable", "engine"} <= content.keys() else None


def _is_table(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(64).rstrip(b"\r\n") == ",".join(HEADER).encode()


def _not_ours(path: Path) -> OutputError:
    return OutputError(
        f"{path}: exists, and was not written by fastrt embed; expected no other file of this name."
        " Name another output, or move the file."
    )

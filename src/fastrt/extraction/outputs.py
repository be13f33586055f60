"""The finished outputs: a ``.npy`` of embeddings, and the names of its rows as ``.json`` and ``.csv``."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fastrt.engine.stream import Embedded
from fastrt.errors import OutputError
from fastrt.extraction.job import parse_json
from fastrt.files import ESCAPED, check_place, check_suffix, writing, written_whole
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
) -> dict[Path, bytes]:
    """Return the content of the ``.json`` and of the ``.csv`` beside ``output``, by path."""
    images = list(map(str, paths))
    content = {
        "images": images,
        "unreadable": [{"image": str(image), "reason": reason} for image, reason in unreadable],
        "engine": info.model_dump(exclude={"spec"}, exclude_none=True),
    }
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(HEADER)
    writer.writerows(enumerate(images))
    texts = {".json": json.dumps(content, indent=1, ensure_ascii=False) + "\n", ".csv": table.getvalue()}
    return {output.with_suffix(suffix): text.encode("utf-8", ESCAPED) for suffix, text in texts.items()}


def write_outputs(rows: Path, texts: Mapping[Path, bytes], output: Path) -> None:
    """Make finished ``rows`` appear as ``output`` beside the ``texts``, as `describe_rows` returns them.

    The file of rows stays until the caller deletes it, so a job that is killed can be resumed; on a file system without
    hard links it is moved.
    """
    with written_whole(output) as new_path:
        for path, text in texts.items():
            (new_path.parent / path.name).write_bytes(text)
        try:
            new_path.hardlink_to(rows)
        except OSError:
            rows.replace(new_path)


def check_outputs(path: Path) -> None:
    """Check that ``path`` can be written without replacing a file that the user did not name.

    Raises:
        OutputError: ``path`` is not named ``.npy`` or cannot be created, or the ``.json`` or ``.csv`` beside it was not
            written by `save_embeddings`.
    """
    check_suffix(path, ".npy")
    check_place(path)
    _refuse_foreign(path.with_suffix(".json"), _is_names)
    _refuse_foreign(path.with_suffix(".csv"), _is_table)


def check_default(path: Path) -> None:
    """Raise `OutputError` if an output that the user did not name exists and was not written by `save_embeddings`."""
    _refuse_foreign(path, _is_embeddings)


def _refuse_foreign(file: Path, is_ours: Callable[[Path], bool]) -> None:
    if file.exists() and not is_ours(file):
        raise OutputError(
            f"{file}: exists, and was not written by fastrt embed; expected no other file of this name."
            " Name another output, or move the file."
        )


def _is_embeddings(path: Path) -> bool:
    """Return True for embeddings as the names beside them describe."""
    names = path.with_suffix(".json")
    if not _is_names(names):
        return False
    content = parse_json(names.read_text("utf-8", "replace"))
    try:
        shape = np.load(path, mmap_mode="r").shape
        return bool(shape == (len(content["images"]), content["engine"]["embedding_dim"]))
    except (OSError, ValueError, EOFError, TypeError, KeyError, AttributeError):
        return False


def _is_names(path: Path) -> bool:
    if not path.is_file():
        return False
    content = parse_json(path.read_text("utf-8", "replace"))
    return isinstance(content, dict) and {"images", "unreadable", "engine"} <= content.keys()


def _is_table(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(64).rstrip(b"\r\n") == ",".join(HEADER).encode()

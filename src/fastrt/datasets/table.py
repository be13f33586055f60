"""Reads a data set from a table of paths, identities, cameras and roles."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastrt.datasets.base import DataSet, LabelledImage, Listing, Root, make_data_set, read_text
from fastrt.errors import EvaluationError
from fastrt.paths import as_path

logger = logging.getLogger("fastrt")

COLUMNS = ("path", "identity", "camera", "role")
ROLES = ("query", "gallery")

ABSENT = {"", "#n/a n/a", "\u2013", "\u2014"}.union(
    "na n/a n.a. nan nat nil none null <na> (null) #n/a #na #ref! #value! missing undefined unknown ? ?? - --".split()  # noqa: SIM905  # one line
)
"""Cells, in small letters, that programs and people write for a missing value. They name no identity and no camera."""

JUNK = "-1"
"""Identity of detections that do not count, as in the names of Market-1501."""


def read_data_set(path: Root) -> DataSet:
    """Read a data set from a ``.csv`` with the columns path, identity, camera and role.

    Args:
        path: the file. Its paths are relative to its folder, identities and cameras are any text, and a role is
            ``query`` or ``gallery``. Spaces around cells and empty lines are ignored, and so are other columns. Images
            of identity -1 are junk and are left out, as in Market-1501, with a warning. So are lines that repeat a file
            in its role; a query may also stand in the gallery.

    Raises:
        EvaluationError: the file cannot be read, lacks a column or has it twice, or a cell is missing, has several
            lines or is wrong; the line and the column are named. Or a file, by whatever name, spelling or link, has
            two identities or cameras.
    """
    path = as_path(path, "data set", EvaluationError)
    images: dict[str, list[LabelledImage]] = {role: [] for role in ROLES}
    numbers: dict[str, dict[str, int]] = {"identity": {}, "camera": {}}
    listing = Listing(path)
    junk = 0
    for line, row in _read_rows(path):
        file = path.parent / row["path"]
        if not listing.is_new(file, row["identity"], row["camera"], line, row["role"]):
            continue
        if row["identity"] == JUNK:
            junk += 1
            continue
        pid, camid = (numbers[key].setdefault(row[key], len(numbers[key])) for key in ("identity", "camera"))
        images[row["role"]].append(LabelledImage(file, pid, camid))
    listing.report()
    if junk:
        logger.warning("%s: left out %d images of identity %s, which are junk", path, junk, JUNK)
    return make_data_set(
        path.stem, images["query"], images["gallery"], None, f"Check the roles and identities in {path}."
    )


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each line's place, and its cells by column, checked."""
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    names = [name.strip() for name in next(_records(reader, path), ("", []))[1]]
    for column in COLUMNS:
        if names.count(column) != 1:
            found = f"{names.count(column)} columns" if column in names else "no column"
            raise EvaluationError(
                f"{path}: {found} {column}; expected {', '.join(COLUMNS)}, once each, in the first line."
                " Correct that line."
            )
    for line, cells in _records(reader, path):
        if not any(map(str.strip, cells)):
            continue
        where = f"{path}, {line}"
        if len(cells) != len(names):
            raise EvaluationError(
                f"{where}: {len(cells)} cells; expected {len(names)}, one for each column."
                " Correct the line, and quote cells that have a comma."
            )
        row = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if name in COLUMNS}
        _check_row(row, where)
        yield line, row


def _records(reader: Any, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each line's place and its cells; a quote that is not closed in its line would hide the lines after it."""
    while True:
        line = f"line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            found = str(error)
        else:
            found = "a cell of several lines" if any("\n" in cell for cell in cells) else ""
        if found:
            raise EvaluationError(
                f"{path}, {line}: {found}; expected cells of one line. Close the quote, or double quotes within a cell."
            )
        yield line, cells


def _check_row(row: Mapping[str, str], where: str) -> None:
    for column in COLUMNS:
        if row[column].lower() in ABSENT:
            found = f"{column} is {row[column]!r}" if row[column] else f"{column} is empty"
            raise EvaluationError(f"{where}: {found}; expected a value. Fill it in, or remove the line.")
    for column in ("identity", "camera"):
        if _is_below_zero(row[column]) and (column, row[column]) != ("identity", JUNK):
            raise EvaluationError(
                f"{where}: {column} is {row[column]!r}; expected a name, or a number from 0; {JUNK} is junk."
                " Correct it, or remove the line."
            )
    if row["role"] not in ROLES:
        raise EvaluationError(
            f"{where}: role is {row['role']!r}; expected {' or '.join(ROLES)}. Correct it, or remove the line."
        )


def _is_below_zero(text: str) -> bool:
    """Return whether a text is a number below 0, or not finite: programs mark missing values with them."""
    try:
        return not 0 <= float(text) < math.inf
    except ValueError:
        return False

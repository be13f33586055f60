"""Reads a data set from a table of paths, identities, cameras and roles."""

from __future__ import annotations

import csv
import io
import logging
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastrt.datasets.base import DataSet, LabelledImage, Listing, Root, make_data_set, read_text
from fastrt.errors import EvaluationError
from fastrt.paths import as_path

logger = logging.getLogger("fastrt")

COLUMNS = ("path", "identity", "camera", "role")
ROLES = ("query", "gallery")

ABSENT = set(
    "na nan nat nil none null missing undefined unknown unk unidentified absent notavailable notapplicable tbd".split()  # noqa: SIM905  # one line
)
"""The letters of cells that programs and people write for a missing value."""

ERROR = re.compile(r"#.*[!?]|#n/a.*|[-+]?\d\.#\w+|\\n")
"""Values of Excel and C that are errors, and SQL's missing value."""

WHOLE = re.compile(r"\+?\d+(\.0*)?")

MINUS = str.maketrans("\u2212\ufe63\uff0d", "---")

LABELS = ("identity", "camera")

JUNK = "-1"
"""Identity of detections that do not count, as in the names of Market-1501."""


def read_data_set(path: Root) -> DataSet:
    """Read a data set from a ``.csv`` with the columns path, identity, camera and role.

    Args:
        path: the file. Its paths are relative to its folder, identities and cameras are names or whole numbers, and a
            role is ``query`` or ``gallery``. Spaces around cells and empty lines are ignored, and so are other columns.
            Images of identity -1 are junk and are left out, as in Market-1501, with a warning. So are lines that repeat
            a file in its role; a query may also stand in the gallery.

    Raises:
        EvaluationError: the file cannot be read, lacks a column or has it twice, or a cell is missing, has several
            lines or is wrong; the line and the column are named. Or a file, by whatever name, spelling or link, has
            two identities or cameras.
    """
    path = as_path(path, "data set", EvaluationError)
    images: dict[str, list[LabelledImage]] = {role: [] for role in ROLES}
    numbers: dict[str, dict[str, int]] = {label: {} for label in LABELS}
    listing = Listing(path)
    junk = 0
    for line, row in _read_rows(path):
        file = path.parent / row["path"]
        if not listing.is_new(file, row["identity"], row["camera"], line, row["role"]):
            continue
        if row["identity"] == JUNK:
            junk += 1
            continue
        pid, camid = (numbers[key].setdefault(row[key], len(numbers[key])) for key in LABELS)
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
    spelled: dict[tuple[str, str], str] = {}
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
        row.update({label: _normalize(row[label]) for label in LABELS})
        _check_row(row, where)
        for label in LABELS:
            number = row[label].lstrip("0") if row[label].isdigit() else row[label]
            if spelled.setdefault((label, number), row[label]) != row[label]:
                raise EvaluationError(
                    f"{where}: {label} is {row[label]!r}; expected {spelled[label, number]!r}, as in an earlier line."
                    " Write a number in one way."
                )
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
        if _is_absent(row[column]):
            found = f"{column} is {row[column]!r}" if row[column] else f"{column} is empty"
            raise EvaluationError(f"{where}: {found}; expected a value. Fill it in, or remove the line.")
    for column in LABELS:
        if _is_below_zero(row[column]) and (column, row[column]) != ("identity", JUNK):
            raise EvaluationError(
                f"{where}: {column} is {row[column]!r}; expected a name, or a number from 0; {JUNK} is junk."
                " Correct it, or remove the line."
            )
        if WHOLE.fullmatch(row[column]) and not (row[column].isascii() and row[column].isdigit()):
            raise EvaluationError(
                f"{where}: {column} is {row[column]!r}; expected a name, or a whole number in digits."
                " Write 7, not 7.0: they would be two."
            )
    if row["role"] not in ROLES:
        raise EvaluationError(
            f"{where}: role is {row['role']!r}; expected {' or '.join(ROLES)}. Correct it, or remove the line."
        )


def _normalize(label: str) -> str:
    """Return a label in one form: Unicode's composed form, without invisible characters, with ``-`` for each minus."""
    return "".join(filter(str.isprintable, unicodedata.normalize("NFC", label).translate(MINUS))).strip()


def _is_absent(cell: str) -> bool:
    """Return whether a cell stands for a missing value: it has no letter or digit, or only such a word, or an error."""
    text = unicodedata.normalize("NFKC", cell).casefold()
    letters = "".join(filter(str.isalnum, text))
    return not letters or letters in ABSENT or bool(ERROR.fullmatch(text))


def _is_below_zero(text: str) -> bool:
    """Return whether a text is a number below 0, or not finite: programs mark missing values with them."""
    try:
        return not 0 <= float(text) < math.inf
    except ValueError:
        return False

"""Reads a data set from a table of paths, identities, cameras and roles."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from fastrt.datasets.base import DataSet, LabelledImage, Listing, Root, make_data_set
from fastrt.errors import EvaluationError

logger = logging.getLogger("fastrt")

COLUMNS = ("path", "identity", "camera", "role")
ROLES = ("query", "gallery")

ABSENT = frozenset({"", "nan", "none", "null", "n/a", "<na>"})
"""Cells, in small letters, that programs write for a missing value. They name no identity and no camera."""

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
        EvaluationError: the file cannot be read, lacks a column or has it twice, or a cell is missing or wrong; the
            line and the column are named. Or a file, by whatever spelling of its path, has two identities or cameras.
    """
    path = Path(path)
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
    return make_data_set(path.stem, images["query"], images["gallery"], None)


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each line's place, and its cells by column, checked."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, [])]
            for column in COLUMNS:
                if names.count(column) != 1:
                    found = f"{names.count(column)} columns" if column in names else "no column"
                    raise EvaluationError(
                        f"{path}: {found} {column}; expected {', '.join(COLUMNS)}, once each, in the first line."
                        " Correct that line."
                    )
            for cells in reader:
                if not any(map(str.strip, cells)):
                    continue
                line = f"line {reader.line_num}"
                where = f"{path}, {line}"
                if len(cells) != len(names):
                    raise EvaluationError(
                        f"{where}: {len(cells)} cells; expected {len(names)}, one for each column."
                        " Correct the line, and quote cells that have a comma."
                    )
                row = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if name in COLUMNS}
                _check_row(row, where)
                yield line, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}); expected a UTF-8 .csv. Check the file.") from None


def _check_row(row: Mapping[str, str], where: str) -> None:
    for column in COLUMNS:
        if row[column].lower() in ABSENT:
            found = f"{column} is {row[column]!r}" if row[column] else f"{column} is empty"
            raise EvaluationError(f"{where}: {found}; expected a value. Fill it in, or remove the line.")
    if row["role"] not in ROLES:
        raise EvaluationError(
            f"{where}: role is {row['role']!r}; expected {' or '.join(ROLES)}. Correct it, or remove the line."
        )

"""Reads a data set from a table of paths, identities, cameras and roles."""

from __future__ import annotations

import csv
from pathlib import Path

from fastrt.datasets.base import DataSet, LabelledImage, Root, make_data_set
from fastrt.errors import EvaluationError

COLUMNS = ("path", "identity", "camera", "role")
ROLES = ("query", "gallery")


def read_data_set(path: Root) -> DataSet:
    """Read a data set from a ``.csv`` with the columns path, identity, camera and role.

    Args:
        path: the file. Its paths are relative to its folder, identities and cameras are any text, and a role is
            ``query`` or ``gallery``.

    Raises:
        EvaluationError: the file cannot be read, has no such column, or has another role; the line is named.
    """
    path = Path(path)
    images: dict[str, list[LabelledImage]] = {role: [] for role in ROLES}
    numbers: dict[str, dict[str, int]] = {"identity": {}, "camera": {}}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise EvaluationError(f"{path}: no column {missing[0]}; expected {', '.join(COLUMNS)}. Add it.")
            for row in reader:
                if row["role"] not in ROLES or not row["path"]:
                    raise EvaluationError(
                        f"{path}, line {reader.line_num}: path {row['path']!r}, role {row['role']!r}; expected a path"
                        f" and {' or '.join(ROLES)}. Correct the line."
                    )
                pid, camid = (numbers[key].setdefault(row[key], len(numbers[key])) for key in ("identity", "camera"))
                images[row["role"]].append(LabelledImage(path.parent / row["path"], pid, camid))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}); expected a UTF-8 .csv. Check the file.") from None
    return make_data_set(path.stem, images["query"], images["gallery"], None)

"""Validation of spec values that are names in a table."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def name_in(table: Collection[str]) -> AfterValidator:
    """Return a pydantic validator that refuses a string that is not a name in ``table``."""

    def check(name: str) -> str:
        if name not in table:
            raise PydanticCustomError("unknown_name", "Input should be {expected}", {"expected": list_names(table)})
        return name

    return AfterValidator(check)


def list_names(table: Collection[str]) -> str:
    """Format names for a message: ``'a', 'b' or 'c'``."""
    *names, last = map(repr, table)
    return f"{', '.join(names)} or {last}" if names else last

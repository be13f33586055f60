"""Notes on files that have no embedding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastrt.cli.output import say_note
from fastrt.engine.stream import was_read


def say_unreadable(unreadable: Sequence[tuple[Path, str]], files: int) -> None:
    """Name the files, of ``files``, that have no embedding, with the reasons."""
    groups = {
        "could not be read": [reason for _, reason in unreadable if not was_read(reason)],
        "have no finite embedding": [reason for _, reason in unreadable if was_read(reason)],
    }
    for what, reasons in groups.items():
        if reasons:
            say_note(f"{len(reasons)} of {files} images {what}:")
        for reason in reasons:
            say_note(reason)

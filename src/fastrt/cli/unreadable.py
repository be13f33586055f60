"""Notes on files that have no embedding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastrt.cli.output import say_note
from fastrt.engine.stream import was_read


def say_unreadable(unreadable: Sequence[tuple[Path, str]], files: int) -> None:
    """Name the files, of ``files``, that have no embedding, with the reasons."""
    groups = {
        "could not be read": [(path, reason) for path, reason in unreadable if not was_read(reason)],
        "have no finite embedding": [(path, reason) for path, reason in unreadable if was_read(reason)],
    }
    for what, group in groups.items():
        if group:
            more = f" and {len(group) - 1} more" if len(group) > 1 else ""
            say_note(f"{len(group)} of {files} images {what}: {group[0][0]}{more}")
        for _, reason in group:
            say_note(reason)

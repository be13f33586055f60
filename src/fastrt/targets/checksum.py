"""The checksum of an engine file, stated in the file itself.

It is the SHA-256 of the file with zeros in the place of the checksum. Files of other tools and of earlier versions of
fastrt have none. Writers put `BLANK` under `KEY` into the runtime's own metadata; `state` then fills it in.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fastrt.errors import EngineError

KEY = "fastrt_sha256"
"""Name of the entry with the checksum."""

BLANK = "0" * 64

_STATED = re.compile(KEY.encode() + rb'(?: value="|\x12@)(.{64})', re.DOTALL)
"""The entry in an IR and in an ONNX file, where ``\\x12@`` is protobuf's tag and length of a value of 64 bytes."""


def state(content: bytes) -> bytes:
    """Return the content of a file with its checksum instead of `BLANK`."""
    entry = _find(content)
    if entry is None:
        raise RuntimeError(f"no entry {KEY}")
    return content[: entry.start(1)] + _compute(content, entry) + content[entry.end(1) :]


def check(path: Path) -> None:
    """Raise `EngineError` unless a file has the checksum that it states, if any."""
    content = path.read_bytes()
    entry = _find(content)
    if entry is not None and entry[1] != _compute(content, entry):
        raise EngineError(
            f"{path}: damaged, or changed by another tool: its content differs from its checksum; expected the file as"
            " fastrt wrote it. Copy it again, or build it again."
        )


def _find(content: bytes) -> re.Match[bytes] | None:
    """Find the entry: the last one, as the metadata follow the network."""
    start = content.rfind(KEY.encode())
    return None if start < 0 else _STATED.match(content, start)


def _compute(content: bytes, entry: re.Match[bytes]) -> bytes:
    digest = hashlib.sha256(memoryview(content)[: entry.start(1)])
    digest.update(BLANK.encode())
    digest.update(memoryview(content)[entry.end(1) :])
    return digest.hexdigest().encode()

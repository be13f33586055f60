"""The checksum of an engine file, stated in the file itself.

It is the SHA-256 of the file with zeros in the place of the checksum. Files of other tools and of earlier versions of
fastrt have none. Writers put `BLANK` into the runtime's own metadata, and `state` fills it in.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fastrt.errors import EngineError

BLANK = "0" * 64

DESCRIBED = re.compile(rb"<fastrt value=|\x06fastrt\x12")
"""The key of fastrt's description in an IR, and in an ONNX file as protobuf. A file without it is of another tool."""

_VALUE = rb'(?: value=".{64} |\x12@)(.{64})'
"""The value of the checksum's entry: in an IR, behind the checksum of the weights; in an ONNX file, as protobuf."""


def state(content: bytes, key: str) -> bytes:
    """Return the content of a file with its checksum instead of `BLANK` in the entry ``key``."""
    entry = _find(content, key)
    if entry is None:
        raise RuntimeError(f"no entry {key}")
    return content[: entry.start(1)] + _compute(content, entry) + content[entry.end(1) :]


def check(path: Path, key: str) -> None:
    """Raise `EngineError` unless a file has the checksum that its entry ``key`` states, if any."""
    content = path.read_bytes()
    entry = _find(content, key)
    if entry is not None and DESCRIBED.search(content) and entry[1] != _compute(content, entry):
        raise EngineError(
            f"{path}: damaged, or changed by another tool: its content differs from its checksum; expected the file as"
            " fastrt wrote it. Copy it again, or build it again."
        )


def _find(content: bytes, key: str) -> re.Match[bytes] | None:
    """Find the entry: the last one, as the metadata follow the network."""
    start = content.rfind(key.encode())
    return None if start < 0 else re.compile(re.escape(key.encode()) + _VALUE, re.DOTALL).match(content, start)


def _compute(content: bytes, entry: re.Match[bytes]) -> bytes:
    digest = hashlib.sha256(memoryview(content)[: entry.start(1)])
    digest.update(BLANK.encode())
    digest.update(memoryview(content)[entry.end(1) :])
    return digest.hexdigest().encode()

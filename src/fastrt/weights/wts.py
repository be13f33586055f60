"""Reads and writes ``.wts``, tensorrtx's text format: a line with the count, then one line per array.

A line is ``name size hex hex ...``. Each value is a big-endian float32 with 8 hexadecimal digits.

Source: projects/FastRT/tools/gen_wts.py.
"""

from __future__ import annotations

import binascii
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import CheckpointError, OutputError
from fastrt.files import written_whole
from fastrt.weights.weights import Weights

logger = logging.getLogger("fastrt")

WORD = 9
"""Bytes of a value: a space and 8 digits."""

CHUNK = 1 << 20
"""Values that are converted at a time, to bound temporary memory."""

HEAD = re.compile(rb"([^ \n]{1,4095}) (\d{1,11})(?=[ \r\n]|\Z)")
"""Name and size of an array."""


def write_wts(weights: Mapping[str, Array], path: Path) -> None:
    """Write every array as float32, with the same bytes as gen_wts.

    Raises:
        OutputError: a name is empty or contains a space, or an array is complex or has values beyond float32.
    """
    for name, array in weights.items():
        if not name or any(character.isspace() for character in name):
            raise OutputError(
                f"{path}: array name {name!r}; expected a name without spaces, as in every .wts. Rename the array."
            )
        if array.dtype.kind == "c":
            raise OutputError(f"{path}: {name} is {array.dtype}; expected real values. Convert the array to float32.")
    if changed := sorted({str(array.dtype) for array in weights.values()} - {"float32"}):
        logger.warning(f".wts holds float32 values without shapes: arrays of {', '.join(changed)} become float32")
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(b"%d\n" % len(weights))
        for name, array in weights.items():
            file.write(f"{name} {array.size}".encode())
            flat = np.ascontiguousarray(array).reshape(-1)
            for start in range(0, flat.size, CHUNK):
                given = flat[start : start + CHUNK]
                with np.errstate(over="ignore", invalid="ignore"):
                    values = given.astype(">f4")
                if (np.isinf(values) & np.isfinite(given)).any():
                    raise OutputError(f"{path}: {name} has values beyond float32; expected float32. Scale the array.")
                file.write(b" " + binascii.hexlify(values.tobytes(), " ", 4))
            file.write(b"\n")


def read_wts(path: Path) -> Weights:
    """Read a ``.wts``; every array is 1-D float32.

    Raises:
        CheckpointError: not a ``.wts``, or a truncated one; the line is named.
    """
    data = path.read_bytes()
    first, rest = _line_end(data, 0)
    count_text = data[:first].strip()
    if not count_text.isdigit() or len(count_text) > 9:
        raise CheckpointError(
            f"{path}, line 1: {_quote(count_text)}; expected the number of arrays. Check that it is a .wts."
        )
    arrays: dict[str, Array] = {}
    for line in range(2, int(count_text) + 2):
        if rest >= len(data):
            raise CheckpointError(
                f"{path}: ends after {len(arrays)} arrays; expected {int(count_text)}. Copy the file again."
            )
        name, size, start = _read_head(path, data, rest, line)
        stop = start + WORD * size
        end, rest = _line_end(data, stop)
        if stop > len(data) or data[stop:end].strip():
            raise CheckpointError(
                f"{path}, line {line}: {name} has another length; expected {size} values of 8 digits. Copy it again."
            )
        if name in arrays:
            raise CheckpointError(
                f"{path}, line {line}: second array {name}; expected unique names. Write the file again."
            )
        arrays[name] = _decode(path, line, name, np.frombuffer(data, np.uint8, WORD * size, start))
    if data[rest:].strip():
        raise CheckpointError(
            f"{path}: more lines than arrays; expected {len(arrays)} arrays by line 1. Copy it again."
        )
    return Weights(arrays, path.name)


def _line_end(data: bytes, start: int) -> tuple[int, int]:
    """Return the end of the line that contains ``start``, and the start of the next line."""
    end = data.find(b"\n", start)
    return (len(data), len(data)) if end < 0 else (end, end + 1)


def _read_head(path: Path, data: bytes, start: int, line: int) -> tuple[str, int, int]:
    """Parse name and size; return them with the offset of the values."""
    if head := HEAD.match(data, start):
        with suppress(UnicodeDecodeError):
            return head[1].decode(), int(head[2]), head.end()
    found = _quote(data[start : start + 40])
    raise CheckpointError(f"{path}, line {line}: {found}; expected a name and a size. Copy the file again.")


def _decode(path: Path, line: int, name: str, text: Array) -> Array:
    words = text.reshape(-1, WORD)
    values = np.empty(len(words), np.float32)
    for start in range(0, len(words), CHUNK):
        chunk = words[start : start + CHUNK]
        try:
            decoded = binascii.unhexlify(chunk[:, 1:].tobytes())
        except binascii.Error:
            decoded = b""
        if not decoded or (chunk[:, 0] != ord(" ")).any():
            raise CheckpointError(
                f"{path}, line {line}: {name} has other values; expected 8 hexadecimal digits each. Copy it again."
            )
        values[start : start + CHUNK] = np.frombuffer(decoded, ">f4")
    return values


def _quote(text: bytes) -> str:
    return repr(text[:40].decode("ascii", "replace"))

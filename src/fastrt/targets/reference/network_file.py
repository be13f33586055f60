"""Stores a network as a NumPy ``.npz`` file: operations as JSON, arrays as arrays."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EngineError, FastrtError
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import OPERATIONS
from fastrt.targets.base import cannot_read

OPERATIONS_ENTRY = "network"
INFO_ENTRY = "info"


def write_network(network: Network, path: Path, info: str) -> None:
    """Write ``network`` and the engine description ``info``."""
    entries: dict[str, Array] = {}
    lines = []
    for i, tensor in enumerate(network):
        operation = tensor.operation
        lines.append(
            {
                "name": tensor.name,
                "kind": operation.kind,
                "inputs": tensor.inputs,
                **({"exact": True} if tensor.exact else {}),
                **{f"@{key}": value for key, value in operation.attributes().items()},
            }
        )
        entries |= {f"{i}.{field}": array for field, array in operation.arrays().items()}
    texts = {OPERATIONS_ENTRY: json.dumps(lines), INFO_ENTRY: info}
    entries |= {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **entries)


def read_info_entry(path: Path) -> str:
    """Read the engine description.

    Raises:
        EngineError: the file is not a reference engine.
    """
    try:
        return _read(path)[INFO_ENTRY].tobytes().decode()
    except (KeyError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None


def read_network(path: Path) -> Network:
    """Read the network and infer all its shapes again.

    Raises:
        EngineError: the file is not a reference engine, or its network is inconsistent.
    """
    entries = _read(path)
    try:
        lines: list[dict[str, Any]] = json.loads(entries.pop(OPERATIONS_ENTRY).tobytes())
        entries.pop(INFO_ENTRY)
        arrays: list[dict[str, Array]] = [{} for _ in lines]
        for name, array in entries.items():
            number, _, key = name.partition(".")
            arrays[int(number)][key] = array
        tensors: dict[str, Tensor] = {}
        for line, own in zip(lines, arrays, strict=True):
            attributes = {key[1:]: _tuples(value) for key, value in line.items() if key.startswith("@")}
            operation = OPERATIONS[line["kind"]](**attributes, **own)
            inputs = [tensors[name] for name in line["inputs"]]
            tensors[line["name"]] = make_tensor(line["name"], operation, inputs, exact=line.get("exact", False))
        return Network(tuple(tensors.values()))
    # An operation may raise any of these for attributes and arrays that do not fit it.
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, FastrtError) as error:
        raise EngineError(
            f"{path}: it has no network that this fastrt can read ({type(error).__name__}: {error}). Build it again."
        ) from None


def _read(path: Path) -> dict[str, Array]:
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise EngineError(f"{path}: not a reference engine, or damaged. Build it again.")
    try:
        with zipfile.ZipFile(path) as file:
            _check_sizes(file, path.stat().st_size)
            return {entry.filename.removesuffix(".npy"): _read_array(file.read(entry)) for entry in file.infolist()}
    # The parsers of zipfile and NumPy raise many types of errors for damaged files, TokenError among them.
    except Exception as error:
        raise _damaged(path, error) from None


def _check_sizes(file: zipfile.ZipFile, size: int) -> None:
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.infolist()):
        raise ValueError("an entry is compressed")
    if sum(entry.file_size for entry in file.infolist()) > size:
        raise ValueError("the entries are larger than the file")


def _read_array(content: bytes) -> Array:
    """Read a ``.npy``. NumPy's own reader first allocates what the header claims."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another version of .npy")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if is_fortran else "C")


def _damaged(path: Path, error: Exception) -> EngineError:
    return cannot_read(path, "a reference engine", error)


def _tuples(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value

"""Stores a network as a NumPy ``.npz`` file: operations as JSON, arrays as arrays."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EngineError, FastrtError
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import OPERATIONS

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
    return _read(path, only=(INFO_ENTRY,))[INFO_ENTRY].tobytes().decode()


def read_network(path: Path) -> Network:
    """Read the network and infer all its shapes again.

    Raises:
        EngineError: the file is not a reference engine, or its network is inconsistent.
    """
    entries = _read(path)
    try:
        lines: list[dict[str, Any]] = json.loads(entries.pop(OPERATIONS_ENTRY).tobytes())
        entries.pop(INFO_ENTRY)
        tensors: dict[str, Tensor] = {}
        for i, line in enumerate(lines):
            arrays = {key.partition(".")[2]: array for key, array in entries.items() if key.startswith(f"{i}.")}
            attributes = {key[1:]: _tuples(value) for key, value in line.items() if key.startswith("@")}
            operation = OPERATIONS[line["kind"]](**attributes, **arrays)
            inputs = [tensors[name] for name in line["inputs"]]
            tensors[line["name"]] = make_tensor(line["name"], operation, inputs, exact=line.get("exact", False))
        return Network(tuple(tensors.values()))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, FastrtError, RecursionError) as error:
        raise EngineError(
            f"{path}: it has no network that this fastrt can read ({type(error).__name__}: {error}). Build it again."
        ) from None


def _read(path: Path, only: tuple[str, ...] = ()) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise EngineError(f"{path}: not a reference engine, or damaged. Build it again.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as entries:
                return {name: entries[name] for name in (only or entries.files)}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise EngineError(f"{path}: not a reference engine, or damaged ({error}). Build it again.") from None


def _tuples(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value

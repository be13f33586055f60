"""Writes torch's zip format; ``torch.load(path, weights_only=True)`` returns ``{"model": OrderedDict}``.

Source: ``torch/serialization.py`` of PyTorch 2.13; Python's ``Lib/pickletools.py`` for the instructions.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import OutputError
from fastrt.files import written_whole
from fastrt.weights.dtypes import TORCH_DTYPES, TYPED_STORAGES

ALIGNMENT = 64
"""Alignment of storages in bytes, so that they can be memory-mapped."""

LOCAL_HEADER = 30
"""Bytes of a zip entry's header before its name."""

DATE = (1980, 1, 1, 0, 0, 0)
"""Timestamp of every entry, fixed so that equal arrays give equal files."""


def write_pth(weights: Mapping[str, Array], path: Path) -> None:
    """Write ``{"model": OrderedDict of tensors}``.

    Raises:
        OutputError: torch does not have the dtype of an array.
    """
    dtypes = {dtype: name for name, dtype in TORCH_DTYPES.items()}
    for name, array in weights.items():
        if _native(array.dtype) not in dtypes:
            raise OutputError(f"{path}: {name} is {array.dtype}; expected a dtype of torch. Convert the array.")
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        _add(file, "data.pkl", _pickle(weights, dtypes))
        _add(file, "byteorder", sys.byteorder.encode())
        for key, array in enumerate(weights.values()):
            _add(file, f"data/{key}", np.ascontiguousarray(array, _native(array.dtype)).tobytes())
        _add(file, "version", b"3\n")


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in native byte order; the dtypes of ml_dtypes have no other."""
    return dtype.newbyteorder("=") if dtype.kind in "iufc" else dtype


def _add(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(f"archive/{name}", DATE)
    assert file.fp is not None
    begin = file.fp.tell() + LOCAL_HEADER + len(entry.filename) + 4
    padding = -begin % ALIGNMENT
    entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    file.writestr(entry, content)


def _pickle(weights: Mapping[str, Array], dtypes: Mapping[Any, str]) -> bytes:
    storages = {dtype: storage for storage, dtype in TYPED_STORAGES.items()}
    parts = [pickle.PROTO, b"\x02", pickle.EMPTY_DICT, _text("model"), _ordered_dict(), pickle.MARK]
    for key, (name, array) in enumerate(weights.items()):
        dtype = dtypes[_native(array.dtype)]
        typed = storages.get(dtype)
        count = array.size if typed else array.nbytes
        parts += [
            _text(name),
            _global("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3"),
            pickle.MARK,
            *(
                pickle.MARK,
                _text("storage"),
                _global("torch", typed) if typed else _global("torch.storage", "UntypedStorage"),
            ),
            *(_text(str(key)), _text("cpu"), _integer(count), pickle.TUPLE, pickle.BINPERSID),
            *(_integer(0), _integers(array.shape), _integers(_strides(array.shape)), pickle.NEWFALSE, _ordered_dict()),
            *(() if typed else (_global("torch", dtype),)),
            pickle.TUPLE,
            pickle.REDUCE,
        ]
    return b"".join([*parts, pickle.SETITEMS, pickle.SETITEM, pickle.STOP])


def _strides(shape: Sequence[int]) -> list[int]:
    """Compute the strides of a C-contiguous tensor, in elements, by torch's rule for empty tensors."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return strides


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _ordered_dict() -> bytes:
    return _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", value)


def _integers(values: Sequence[int]) -> bytes:
    return pickle.MARK + b"".join(map(_integer, values)) + pickle.TUPLE

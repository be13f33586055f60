"""Reads torch's ``.pth`` files without torch: the zip format (since torch 1.6) and the older pickle stream.

A zip contains ``data.pkl`` with the objects, and one file of bytes per storage; tensors are views of storages. The
older stream is five pickles (magic number, protocol, system, objects, storage keys), then the length and bytes of each
storage.

Source: ``torch/serialization.py`` of PyTorch 2.13.
"""

from __future__ import annotations

import io
import math
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import CheckpointError
from fastrt.weights.dtypes import QUANTIZED_STORAGES, TORCH_DTYPES, TYPED_STORAGES
from fastrt.weights.stand_ins import NUMPY_CODES, Global, NumpyArray, NumpyDtype, Opaque, Storage, Tensor
from fastrt.weights.state_dict import find_state_dict
from fastrt.weights.unpickle import DamagedError, UnsafeError, unpickle
from fastrt.weights.weights import Weights

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
UNTYPED = "uint8"

MAX_SHARING = 64
"""Arrays that share storages may be larger than the file, by at most this factor: each may become a copy."""

ZIP_ERRORS = (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, LookupError, struct.error)
"""Errors of zipfile on a damaged file."""


def read_pth(path: Path, key: str | None = None) -> Weights:
    """Read the model's arrays from a torch file of either format, from the entry ``key`` if it is given.

    Raises:
        CheckpointError: not a torch file, a damaged one, one that tries to call a function, or one without state dict.
    """
    data = path.read_bytes()
    try:
        file = _Zip(data) if data.startswith(b"PK") else _Stream(data)
        state = find_state_dict(path, file.content, key)
        arrays: dict[str, Array] = {}
        room = MAX_SHARING * len(data)
        for name, value in state.items():
            array = _read_array(path, name, value, file, room)
            if array is not None:
                arrays[str(name)] = array
                room -= array.nbytes
    except UnsafeError as error:
        raise CheckpointError(
            f"{path}: calls {error} when it is unpickled; expected tensors only, as fastrt runs no code of a file. Do"
            " not trust it."
        ) from None
    except DamagedError as error:
        raise CheckpointError(
            f"{path}: damaged or not a .pth ({error}); expected a file of torch.save. Copy it again."
        ) from None
    return Weights(arrays, path.name)


class _Zip:
    """The zip format, since torch 1.6."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            names = self._zip.namelist()
        except ZIP_ERRORS as error:
            raise DamagedError(error) from None
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise DamagedError(f"{len(pickles)} data.pkl in the zip")
        self._folder = pickles[0].removesuffix("data.pkl")
        self._left = len(data)
        self._storages: dict[str, bytes] = {}
        order = f"{self._folder}byteorder"
        self.big_endian = order in names and self._read(order) == b"big"
        self.content = unpickle(io.BytesIO(self._read(pickles[0])), _find_storage)

    def read_storage(self, storage: Storage) -> bytes:
        if storage.key not in self._storages:
            self._storages[storage.key] = self._read(f"{self._folder}data/{storage.key}")
        return self._storages[storage.key]

    def _read(self, name: str) -> bytes:
        try:
            entry = self._zip.getinfo(name)
            if entry.compress_type != zipfile.ZIP_STORED:
                raise DamagedError(f"{name} is compressed, but torch never compresses")
            content = self._zip.read(entry)
        except KeyError:
            raise DamagedError(f"{name} is missing") from None
        except ZIP_ERRORS as error:
            raise DamagedError(f"{name}: {error}") from None
        self._left -= len(content)
        if self._left < 0:  # overlapping entries
            raise DamagedError("the entries are larger than the file")
        return content


class _Stream:
    """The pickle stream of older versions, which torch still writes on request."""

    def __init__(self, data: bytes) -> None:
        file = io.BytesIO(data)
        if unpickle(file, _find_storage) != MAGIC:
            raise DamagedError("torch's magic number is missing")
        if unpickle(file, _find_storage) != PROTOCOL:
            raise DamagedError(f"the protocol is not {PROTOCOL}")
        system = unpickle(file, _find_storage)
        self.big_endian = isinstance(system, dict) and system.get("little_endian") is False
        sizes: dict[str, int] = {}

        def find_storage(identity: object) -> object:
            storage = _find_storage(identity)
            if isinstance(storage, Storage):
                sizes[storage.key] = TORCH_DTYPES[storage.dtype].itemsize
            return storage

        self.content = unpickle(file, find_storage)
        keys = unpickle(file, _find_storage)
        if not isinstance(keys, list):
            raise DamagedError("the list of storages is missing")
        self._storages: dict[str, bytes] = {}
        for key in keys:
            (count,) = struct.unpack(">q" if self.big_endian else "<q", file.read(8).ljust(8, b"\xff"))
            size = count * sizes.get(str(key), 1)
            content = file.read(size) if 0 <= size <= len(data) else b""
            if len(content) != size:
                raise DamagedError(f"the file ends within storage {key}")
            self._storages[str(key)] = content

    def read_storage(self, storage: Storage) -> bytes:
        if storage.key not in self._storages:
            raise DamagedError(f"storage {storage.key} is missing")
        return self._storages[storage.key]


def _find_storage(identity: object) -> object:
    """Resolve a persistent id ``("storage", class, key, device, count)``; the older format appends a view."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise DamagedError("a persistent id is not a storage")
    kind, key = identity[1], identity[2]
    if not isinstance(kind, Global) or not isinstance(key, str):
        raise DamagedError("a storage has no class or no key")
    start = identity[5][1] if len(identity) > 5 and isinstance(identity[5], tuple) else 0
    dtype = TYPED_STORAGES.get(kind.name) or QUANTIZED_STORAGES.get(kind.name) or UNTYPED
    return Storage(key, dtype, start)


def _read_array(path: Path, name: object, value: object, file: _Zip | _Stream, room: int) -> Array | None:
    """Read the array of a state dict's entry, of at most ``room`` bytes; None if the entry is not a tensor."""
    if isinstance(value, Opaque) and "tensor" in str(value):
        raise CheckpointError(f"{path}: {name} is {value}; expected a dense tensor. Save a dense state dict.")
    if not isinstance(value, Tensor | NumpyArray):
        return None
    if not isinstance(name, str):
        raise DamagedError(f"the name of a tensor is {name!r}")
    try:
        array = _view(value, file) if isinstance(value, Tensor) else _read_numpy(value)
    except (DamagedError, ValueError, TypeError, OverflowError) as error:
        raise DamagedError(f"{name}: {error}") from None
    if array.nbytes > room:
        raise DamagedError(f"the arrays are over {MAX_SHARING} times as large as the file")
    return array


def _view(tensor: Tensor, file: _Zip | _Stream) -> Array:
    """Make an array of a tensor, after checking its offset, shape and strides against the storage."""
    storage = tensor.storage
    if tensor.dtype not in TORCH_DTYPES or not isinstance(storage, Storage):
        raise DamagedError(f"unknown dtype {tensor.dtype}")
    dtype = TORCH_DTYPES[tensor.dtype]
    shape, strides, offset = _integers(tensor.shape), _integers(tensor.strides), *_integers((tensor.offset,))
    content = file.read_storage(storage)
    memory = _in_native_order(content, dtype, file.big_endian)[_integers((storage.start,))[0] :]
    count = math.prod(shape)
    if len(shape) != len(strides) or count > memory.size:
        raise DamagedError(f"shape {shape} does not fit a storage of {memory.size} values")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if count else 0
    if last >= max(memory.size, 1):
        raise DamagedError(f"the view reaches value {last} of a storage of {memory.size}")
    steps = [stride * dtype.itemsize for stride in strides]
    array: Array = np.ndarray(shape, dtype, memory, offset * dtype.itemsize if count else 0, steps)
    return np.ascontiguousarray(array).reshape(shape)


def _in_native_order(content: bytes, dtype: np.dtype[Any], big_endian: bool) -> Array:
    """View a storage's bytes as values in native byte order; an incomplete last value is dropped."""
    width = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    words = np.frombuffer(content, f"u{width}", len(content) // dtype.itemsize * (dtype.itemsize // width))
    # Swapped as integers, because the dtypes of ml_dtypes have no byte order.
    return (words.byteswap() if big_endian != (sys.byteorder == "big") else words).view(dtype)


def _integers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or not all(type(value) is int and 0 <= value < 1 << 62 for value in values):
        raise DamagedError("offset, shape or strides are not non-negative integers")
    return tuple(values)


def _read_numpy(value: NumpyArray) -> Array:
    if not isinstance(value.dtype, NumpyDtype) or value.dtype.code not in NUMPY_CODES:
        raise DamagedError("a NumPy array with a non-numeric dtype")
    dtype = NUMPY_CODES[value.dtype.code]
    wire = dtype.newbyteorder(">" if value.dtype.order == ">" else "<")
    content = value.data.encode("latin-1") if isinstance(value.data, str) else value.data
    shape = _integers(value.shape)
    if not isinstance(content, bytes | bytearray) or len(content) != math.prod(shape) * dtype.itemsize:
        raise DamagedError("a NumPy array with another number of bytes than its shape")
    array = np.frombuffer(content, wire).reshape(shape, order="F" if value.order == "F" else "C")
    return np.ascontiguousarray(array, dtype).reshape(shape)

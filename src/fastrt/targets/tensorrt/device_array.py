"""Arrays in GPU memory: other libraries', by ``__cuda_array_interface__`` or DLPack, and fastrt's."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrt.arrays import DlpackArray, ReadyArray, Shape
from fastrt.errors import ImageError
from fastrt.targets.tensorrt import cuda

CUDA_KINDS = (2, 13)
"""DLPack device types of CUDA memory: device and managed."""


@dataclass(frozen=True)
class DeviceView:
    """A contiguous row-major array in GPU memory, or in memory that a GPU can copy from.

    Attributes:
        pointer: its address.
        shape: batch axis first.
        dtype: NumPy's name of the dtype.
        owner: the object that keeps the memory alive.
    """

    pointer: int
    shape: Shape
    dtype: str
    owner: object


class DeviceArray:
    """Embeddings in GPU memory: ``(n, D)`` float32. torch, CuPy and JAX read it without a copy."""

    def __init__(self, shape: tuple[int, int], device: int) -> None:
        self.shape = shape
        self.device = device
        self.dtype = np.dtype(np.float32)
        self._buffer = cuda.Buffer(int(np.prod(shape)) * self.dtype.itemsize)

    @property
    def pointer(self) -> int:
        """The address of the first element."""
        return self._buffer.pointer

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "stream": None,  # all work on the array is done
        }

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray({self.shape} float32 on cuda:{self.device})"


def view_array(value: ReadyArray) -> DeviceView:
    """Return a view of an array of any library.

    Work on the stream of an array in GPU memory is done when this returns. A host array that is not contiguous is
    copied.

    Raises:
        ImageError: the value is not an array, or it is in GPU memory and not contiguous.
    """
    if hasattr(value, "__cuda_array_interface__"):
        return _view_interface(value.__cuda_array_interface__, value)
    if not hasattr(value, "__dlpack__"):
        raise ImageError(f"images: a {type(value).__name__}; expected an array (n, ...) of the engine's size")
    if value.__dlpack_device__()[0] in CUDA_KINDS:
        return _view_dlpack(value)
    array = np.ascontiguousarray(value if isinstance(value, np.ndarray) else np.from_dlpack(value))
    return DeviceView(array.ctypes.data, array.shape, array.dtype.name, array)


def _view_interface(interface: dict[str, Any], owner: object) -> DeviceView:
    shape = tuple(map(int, interface["shape"]))
    dtype = np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None:
        _check_strides(shape, tuple(stride // dtype.itemsize for stride in strides))
    if interface.get("stream"):
        cuda.wait_for_stream(int(interface["stream"]))
    elif interface.get("version", 0) < 3:
        cuda.wait_for_stream(0)  # before version 3, objects do not name their stream
    return DeviceView(int(interface["data"][0]), shape, dtype.name, owner)


def _check_strides(shape: Shape, strides: Shape) -> None:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            raise ImageError("images: gaps between elements in GPU memory; expected a contiguous array. Copy it first.")
        expected *= size


class _DlTensor(ctypes.Structure):
    """The DLTensor struct. Source: dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat"}


def _view_dlpack(value: DlpackArray) -> DeviceView:
    # Stream 1 is the legacy default stream: the producer makes it wait, then this function waits for it.
    capsule = value.__dlpack__(stream=1)
    cuda.wait_for_stream(1)
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _DlTensor.from_address(get_pointer(capsule, b"dltensor"))
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    if tensor.strides:
        _check_strides(shape, tuple(tensor.strides[i] for i in range(tensor.ndim)))
    dtype = f"{_CODES.get(tensor.code, 'unknown')}{tensor.bits}"
    # The capsule owns the tensor. It was not renamed, so it frees the tensor when it is collected.
    return DeviceView((tensor.data or 0) + tensor.byte_offset, shape, dtype, capsule)

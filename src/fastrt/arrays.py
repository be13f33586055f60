"""Array types of inputs and outputs, with their shapes."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Any array: weights, feature maps."""


def is_plain_array(value: object) -> TypeGuard[Array]:
    """Return True for a NumPy array without a mask: NumPy's functions drop a mask and go on with the values behind."""
    return isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)


Image: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
"""One image of any size: ``(height, width, 3)`` uint8, BGR as OpenCV reads it. Strided views are allowed."""

Images: TypeAlias = np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]
"""A batch of images at the network's image size: ``(n, H, W, 3)`` uint8 BGR."""

Embeddings: TypeAlias = NDArray[np.float32]
"""Embeddings ``(n, D)`` float32, one row per image; unit length unless the engine was built raw."""

Shape: TypeAlias = tuple[int, ...]
"""A shape per image: it has no batch axis. Feature maps are ``(C, H, W)``."""


class CudaArray(Protocol):
    """An array in GPU memory, as torch, CuPy, JAX and Numba publish it."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Address, shape, dtype, strides and stream. Source: Numba's CUDA Array Interface, version 3."""


class DeviceEmbeddings(CudaArray, Protocol):
    """Embeddings ``(n, D)`` float32 in GPU memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, D)``."""


class DlpackArray(Protocol):
    """An array in host or GPU memory that supports DLPack: a NumPy array, or a torch tensor."""

    def __dlpack__(self, *, stream: Any = ...) -> Any:
        """Return a capsule of the array, after making ``stream`` wait for it."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's device type and the device's index."""


ReadyArray: TypeAlias = CudaArray | DlpackArray
"""A batch of any library in an engine's input profile, in host or GPU memory."""

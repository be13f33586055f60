"""Array types of inputs and outputs, with their shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Any array: weights, feature maps."""

Image: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
"""One image of any size: ``(height, width, 3)`` uint8, BGR as OpenCV reads it. Strided views are allowed."""

Images: TypeAlias = np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]
"""A batch of images at the network's image size: ``(n, H, W, 3)`` uint8 BGR."""

Embeddings: TypeAlias = NDArray[np.float32]
"""Embeddings ``(n, D)`` float32, one row per image; unit length unless the engine was built raw."""

Shape: TypeAlias = tuple[int, ...]
"""A shape per image: it has no batch axis. Feature maps are ``(C, H, W)``."""

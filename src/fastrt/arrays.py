"""The nouns: what goes in, what comes out, and their shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Any array: weights, feature maps."""

Image: TypeAlias = NDArray[np.uint8]
"""``(height, width, 3)`` uint8, BGR as OpenCV reads it; strided views are welcome."""

Images: TypeAlias = NDArray[np.uint8]
"""``(n, H, W, 3)`` uint8 BGR: a ready batch, already at the network's image size."""

Embeddings: TypeAlias = NDArray[np.float32]
"""``(n, D)`` float32, a row an image; unit length unless the engine was built raw."""

Shape: TypeAlias = tuple[int, ...]
"""A shape per image: the batch axis is never described. Feature maps are ``(C, H, W)``."""

"""Dtypes of weights, by the names that NumPy and torch share.

Source: ``torch/storage.py`` of PyTorch 2.13, which maps its storage classes to dtypes.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

TORCH_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name)
    for name in (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
} | {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
}
"""NumPy dtype of ``torch.<name>``, in native byte order."""

TYPED_STORAGES: dict[str, str] = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
"""Torch's storage classes of older dtypes. Newer dtypes are stored as untyped bytes and a dtype."""

QUANTIZED_STORAGES: dict[str, str] = {
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    "QUInt4x2Storage": "uint8",
    "QUInt2x4Storage": "uint8",
}
"""Storage dtypes of quantized tensors, used to skip them: fastrt reads no quantized tensor."""

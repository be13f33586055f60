"""Reads ``.safetensors`` with its library; writes it directly, as the library's NumPy API has no bfloat16.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from fastrt.arrays import Array
from fastrt.errors import CheckpointError, OutputError
from fastrt.files import written_whole
from fastrt.weights.weights import Weights

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    **{
        f"{letter}{8 * size}": np.dtype(f"<{code}{size}")
        for letter, code in (("U", "u"), ("I", "i"))
        for size in (1, 2, 4, 8)
    },
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    "C64": np.dtype("<c8"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
"""The format's dtypes, always little-endian."""

METADATA = "__metadata__"
SPEC_KEY = "fastrt.spec"
"""Key of the metadata for the model's spec, as JSON."""


def read_safetensors(path: Path) -> Weights:
    """Read a ``.safetensors``, in the order of its header.

    Raises:
        CheckpointError: not a ``.safetensors``, a damaged one, or one with an unsupported dtype.
    """
    data = path.read_bytes()
    try:
        found = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: damaged or not a .safetensors ({error}); expected a complete file. Copy it again."
        ) from None
    metadata = header.pop(METADATA, None) or {}
    arrays = {}
    for name in header:
        entry = found[name]
        if entry["dtype"] not in DTYPES:
            raise CheckpointError(
                f"{path}: {name} is {entry['dtype']}; expected {', '.join(DTYPES)}. Convert the array."
            )
        try:
            arrays[name] = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        except ValueError as error:  # an empty array may claim any shape
            raise CheckpointError(f"{path}: {name}: {error}; expected another shape. Copy it again.") from None
    return Weights(arrays, path.name, _read_spec(path, metadata))


def _read_spec(path: Path, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    text = metadata.get(SPEC_KEY)
    if text is None:
        return None
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError):
        spec = None
    if not isinstance(spec, dict) or not spec:  # an empty one would mean FastReID's defaults
        raise CheckpointError(
            f"{path}: metadata {SPEC_KEY} is not a JSON object; expected a spec. Convert the checkpoint again."
        )
    return spec


def write_safetensors(weights: Mapping[str, Array], path: Path, spec: Mapping[str, Any] | None) -> None:
    """Write a ``.safetensors``. The header has the arrays' order; their bytes are sorted by item size, for alignment.

    Raises:
        OutputError: the format does not have the dtype of an array, or an array is named ``__metadata__``.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    plain = {
        name: array.astype(array.dtype.newbyteorder("<"), copy=False) if array.dtype.kind in "iufc" else array
        for name, array in weights.items()
    }
    for name, array in plain.items():
        if array.dtype not in names or name == METADATA:
            raise OutputError(
                f"{path}: {name} is {array.dtype}; expected a dtype and name that .safetensors has. Convert it."
            )
    offsets: dict[str, tuple[int, int]] = {}
    end = 0
    by_width = sorted(plain, key=lambda name: -plain[name].itemsize)
    for name in by_width:
        offsets[name] = (end, end + plain[name].nbytes)
        end += plain[name].nbytes
    header: dict[str, Any] = {} if spec is None else {METADATA: {SPEC_KEY: json.dumps(spec)}}
    for name, array in plain.items():
        header[name] = {"dtype": names[array.dtype], "shape": array.shape, "data_offsets": offsets[name]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in by_width:
            file.write(plain[name].tobytes())

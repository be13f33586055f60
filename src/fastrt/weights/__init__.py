"""Weights in and out: ``.pth`` without torch, ``.wts``, ``.safetensors``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastrt.arrays import Array
from fastrt.errors import CheckpointError, OutputError
from fastrt.weights.pth import read_pth, write_pth
from fastrt.weights.safetensors_file import read_safetensors, write_safetensors
from fastrt.weights.weights import Weights
from fastrt.weights.wts import read_wts, write_wts

__all__ = ["Weights", "load_weights", "save_weights"]

READERS: dict[str, Callable[[Path], Weights]] = {
    **dict.fromkeys((".pth", ".pt", ".bin", ".tar"), read_pth),
    ".wts": read_wts,
    ".safetensors": read_safetensors,
}
SPEC_KEY = "fastrt.spec"
"""Where a ``.safetensors`` carries the model's spec, as JSON."""


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """The arrays of a weights file, by name, in the file's order.

    Args:
        path: ``.pth`` (or ``.pt``, ``.bin``, ``.tar``) of torch in either of its formats, read without torch and
            without running anything that stands in it; ``.wts``, tensorrtx's text, whose arrays have lost their shapes
            and are 1-D; or ``.safetensors``. A ``module.`` that every name begins with is left out.

    Raises:
        CheckpointError: there is no such file, it is of another kind, it is damaged, or it tries to call something.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CheckpointError(f"{path} is named {path.suffix or 'without suffix'}; weights are {', '.join(READERS)}")
    if not path.exists():
        raise CheckpointError(f"there is no checkpoint {path}")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the checkpoint in it")
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path} is empty; copy it again")
        _check_kind(path)
        weights = reader(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError:
        raise CheckpointError(f"{path} does not fit into memory") from None
    if not weights:
        raise CheckpointError(f"{path} holds no arrays; is it a checkpoint?")
    return weights.without_prefix("module.")


def save_weights(
    weights: Mapping[str, Array], path: str | os.PathLike[str], *, spec: Mapping[str, Any] | None = None
) -> None:
    """Write arrays as they stand, under their names and in their order; the file appears whole or not at all.

    Args:
        weights: the arrays. ``.wts`` keeps their values as float32, and no shapes.
        path: ``.pth`` (torch's zip format, ``{"model": ...}``), ``.wts`` (byte for byte what FastReID's gen_wts writes)
            or ``.safetensors``.
        spec: the model's, to be carried by a ``.safetensors``; what ``weights`` carry if None.

    Raises:
        OutputError: another suffix, a name or dtype that the format cannot hold, or the file cannot be written.
    """
    path = Path(path)
    if spec is None and isinstance(weights, Weights):
        spec = weights.spec
    suffix = path.suffix.lower()
    if suffix == ".wts":
        write_wts(weights, path)
    elif suffix == ".safetensors":
        write_safetensors(weights, path, {SPEC_KEY: json.dumps(spec)} if spec is not None else {})
    elif suffix in READERS:
        write_pth(weights, path)
    else:
        raise OutputError(
            f"{path} is named {path.suffix or 'without suffix'}; weights are written as {', '.join(READERS)}"
        )


def _check_kind(path: Path) -> None:
    """Refuse a file whose content is of another known kind than its suffix says."""
    with path.open("rb") as file:
        head = file.read(512)
    kinds = {
        ".pth": head.startswith((b"PK\3\4", b"\x80")) or head[257:262] == b"ustar",
        ".wts": head.split(b"\n", 1)[0].strip().isdigit(),
        ".safetensors": head[8:9] == b"{",
    }
    said = ".pth" if READERS[path.suffix.lower()] is read_pth else path.suffix.lower()
    found = [kind for kind, matches in kinds.items() if matches]
    if said not in found and found:
        raise CheckpointError(f"{path} is named {path.suffix} but its content is that of a {found[0]}; rename it")

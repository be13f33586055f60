"""Reads and writes weights: ``.pth`` without torch, ``.wts`` and ``.safetensors``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastrt.arrays import Array
from fastrt.errors import CheckpointError, OutputError
from fastrt.weights.pth import read_pth
from fastrt.weights.pth_writer import write_pth
from fastrt.weights.safetensors_file import read_safetensors, write_safetensors
from fastrt.weights.weights import Weights
from fastrt.weights.wts import read_wts, write_wts

__all__ = ["Weights", "load_weights", "save_weights"]

READERS: dict[str, Callable[[Path], Weights]] = {
    **dict.fromkeys((".pth", ".pt", ".bin", ".tar"), read_pth),
    ".wts": read_wts,
    ".safetensors": read_safetensors,
}


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Read the arrays of a weights file, by name, in the file's order.

    Args:
        path: ``.pth`` (or ``.pt``, ``.bin``, ``.tar``) in either format of torch, read without torch and without
            executing code of the file; ``.wts``, tensorrtx's text, whose arrays are 1-D; or ``.safetensors``. The
            prefix ``module.`` is removed if every name has it.

    Raises:
        CheckpointError: the file does not exist, has another format, is damaged, or tries to call a function.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CheckpointError(f"{path}: {_named(path)}; expected {', '.join(READERS)}. Name a weights file.")
    if not path.exists():
        raise CheckpointError(f"{path}: does not exist; expected a checkpoint. Check the path.")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; expected a checkpoint. Name the file in it.")
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path}: empty file; expected a checkpoint. Copy it again.")
        _check_kind(path)
        weights = reader(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror or error}); expected a readable file. Check it."
        ) from error
    except MemoryError:
        raise CheckpointError(
            f"{path}: does not fit into memory; expected a smaller file or more memory. Free memory."
        ) from None
    if not weights:
        raise CheckpointError(f"{path}: no arrays; expected a checkpoint. Check the file.")
    return weights.without_prefix("module.")


def save_weights(
    weights: Mapping[str, Array], path: str | os.PathLike[str], *, spec: Mapping[str, Any] | None = None
) -> None:
    """Write arrays unchanged, with their names and in their order. The file appears complete or not at all.

    Args:
        weights: the arrays. ``.wts`` stores float32 values without shapes.
        path: ``.pth`` (torch's zip format, ``{"model": ...}``), ``.wts`` (the same bytes as FastReID's gen_wts) or
            ``.safetensors``.
        spec: the model's spec, stored in a ``.safetensors``; None takes the spec of ``weights``, if it has one.

    Raises:
        OutputError: another suffix, a name or dtype that the format does not support, or the file cannot be written.
    """
    path = Path(path)
    if spec is None and isinstance(weights, Weights):
        spec = weights.spec
    suffix = path.suffix.lower()
    if suffix == ".wts":
        write_wts(weights, path)
    elif suffix == ".safetensors":
        write_safetensors(weights, path, spec)
    elif suffix in READERS:
        write_pth(weights, path)
    else:
        raise OutputError(f"{path}: {_named(path)}; expected {', '.join(READERS)}. Rename the output.")


def _named(path: Path) -> str:
    return f"suffix {path.suffix}" if path.suffix else "no suffix"


def _check_kind(path: Path) -> None:
    """Raise `CheckpointError` if the content has another known format than the suffix."""
    with path.open("rb") as file:
        head = file.read(512)
    kinds = {
        ".pth": head.startswith((b"PK\3\4", b"\x80")) or head[257:262] == b"ustar",
        ".wts": head.split(b"\n", 1)[0].strip().isdigit(),
        ".safetensors": head[8:9] == b"{",
    }
    named = ".pth" if READERS[path.suffix.lower()] is read_pth else path.suffix.lower()
    found = [kind for kind, matches in kinds.items() if matches]
    if named not in found and found:
        raise CheckpointError(f"{path}: content of a {found[0]}; expected {path.suffix}. Rename the file.")

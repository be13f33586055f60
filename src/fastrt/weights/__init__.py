"""Reads and writes weights: ``.pth`` without torch, ``.wts`` and ``.safetensors``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastrt.arrays import Array
from fastrt.errors import CheckpointError, OutputError
from fastrt.files import finish_interrupted
from fastrt.signatures import checked
from fastrt.weights.formats import OtherFile, find_format, find_other, find_text, read_head
from fastrt.weights.pth import read_pth
from fastrt.weights.pth_writer import write_pth
from fastrt.weights.safetensors_file import read_safetensors, write_safetensors
from fastrt.weights.weights import Weights, check_arrays
from fastrt.weights.wts import read_wts, write_wts

__all__ = ["READERS", "Weights", "check_arrays", "load_weights", "write_weights"]

READERS = {**dict.fromkeys((".pth", ".pt", ".bin", ".tar"), ".pth"), ".wts": ".wts", ".safetensors": ".safetensors"}
"""Suffixes of weights files, and the format of each."""


@checked(CheckpointError)
def load_weights(path: str | os.PathLike[str], key: str | None = None) -> Weights:
    """Read the arrays of a weights file, by name, in the file's order.

    Args:
        path: ``.pth`` (or ``.pt``, ``.bin``, ``.tar``) in either format of torch, read without torch and without
            executing code of the file; ``.wts``, tensorrtx's text, whose arrays are 1-D; or ``.safetensors``. A common
            prefix of the names, such as ``module.``, is removed and logged as a warning.
        key: the entry of a ``.pth`` that holds the state dict, such as ``net`` or ``state_dict.model``. None: model,
            state_dict or the top level.

    Raises:
        CheckpointError: the file does not exist, has another format, is damaged, or tries to call a function; there is
            no state dict under ``key``; or, without a key, there are several state dicts with the same names.
    """
    path = Path(path)
    try:
        kind = _check_kind(path)
        if kind == ".pth":
            weights = read_pth(path, key)
        elif key is None:
            weights = read_wts(path) if kind == ".wts" else read_safetensors(path)
        else:
            raise CheckpointError(f"{path}: --key {key}; expected a .pth, as others have no entries. Leave --key out.")
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
    return weights.without_prefixes()


def write_weights(weights: Mapping[str, Array], path: Path, spec: Mapping[str, Any] | None = None) -> None:
    """Write arrays unchanged, with their names and in their order. The file appears complete or not at all.

    Args:
        weights: the arrays. ``.wts`` stores float32 values without shapes.
        path: ``.pth`` (torch's zip format, ``{"model": ...}``), ``.wts`` (the same bytes as FastReID's gen_wts) or
            ``.safetensors``.
        spec: the model's spec, stored in a ``.safetensors``; no other format can hold it.

    Raises:
        OutputError: another suffix, a name or dtype that the format does not support, or the file cannot be written.
    """
    kind = READERS.get(path.suffix.lower())
    if kind == ".wts":
        write_wts(weights, path)
    elif kind == ".safetensors":
        write_safetensors(weights, path, spec)
    elif kind == ".pth":
        write_pth(weights, path)
    else:
        raise OutputError(f"{path}: {_named(path)}; expected {', '.join(READERS)}. Rename the output.")


def _named(path: Path) -> str:
    return f"suffix {path.suffix}" if path.suffix else "no suffix"


def _check_kind(path: Path) -> str:
    """Return the format of a weights file: a key of `READERS`.

    Raises:
        CheckpointError: it does not exist, or its suffix or its content is that of something else.
    """
    finish_interrupted(path)
    if not path.exists():
        raise CheckpointError(f"{path}: does not exist; expected a checkpoint. Check the path.")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; expected a checkpoint. Name the file in it.")
    if not path.is_file():
        raise CheckpointError(f"{path}: is a device or a pipe; expected a file. Copy its content to a file.")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: empty file; expected a checkpoint. Copy it again.")
    head = read_head(path)
    named, content = READERS.get(path.suffix.lower()), find_format(head)
    other = find_other(path, head) or (find_text(head) if named in (".pth", ".safetensors") and not content else None)
    if other is None and path.suffix.lower() == ".bin" and not content and path.with_suffix(".xml").exists():
        other = OtherFile("the weights of an OpenVINO engine", f"Name the engine {path.with_suffix('.xml').name}.")
    if other is None and named == ".pth" and content is None:
        other = OtherFile("neither a zip nor a pickle of torch", "Check where it comes from, and copy it again.")
    if other is not None:
        raise CheckpointError(f"{path}: {other.what}; expected a checkpoint. {other.advice}")
    if named is None:
        advice = f"The content is that of a {content}: rename it" if content else "Name a weights file"
        raise CheckpointError(f"{path}: {_named(path)}; expected {', '.join(READERS)}. {advice}.")
    if content not in (None, named):
        raise CheckpointError(f"{path}: content of a {content}; expected {path.suffix}. Rename the file.")
    return named

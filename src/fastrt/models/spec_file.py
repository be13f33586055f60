"""Writes a checkpoint with its spec, in the file or beside it, and finds the spec again.

A ``.safetensors`` holds its spec. Other formats cannot, so a ``.yml`` of the same name is written beside them: a config
of FastReID, whose first line has the digest of the weights, so that it is never taken for the spec of other weights.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from fastrt.arrays import Array
from fastrt.errors import CheckpointError, OutputError, SpecError
from fastrt.files import refuse_inputs, written_whole
from fastrt.models.backbones.base import GROUP
from fastrt.models.config import FIELDS, load_spec
from fastrt.models.spec import ModelSpec
from fastrt.signatures import checked
from fastrt.weights import READERS, Weights, check_arrays, load_weights, write_weights

logger = logging.getLogger("fastrt")

FIRST_LINE = re.compile(rb"# Spec by fastrt of the weights ([0-9a-f]{64})\r?\n")


@checked(OutputError, "path")
@checked(SpecError, "spec")
def save_weights(
    weights: Mapping[str, Array],
    path: str | os.PathLike[str],
    *,
    spec: ModelSpec | Mapping[str, Any] | None = None,
) -> None:
    """Write arrays unchanged, with their names and in their order, and the model's spec. Each file appears complete.

    Args:
        weights: the arrays. ``.wts`` stores float32 values without shapes.
        path: ``.pth`` (torch's zip format, ``{"model": ...}``), ``.wts`` (the same bytes as FastReID's gen_wts) or
            ``.safetensors``.
        spec: the model's spec, stored in a ``.safetensors``; beside another format it is written as ``.yml``, and
            logged as a warning. None takes the spec of ``weights``, if it has one.

    Raises:
        WeightsError: not arrays of numbers by name.
        OutputError: another suffix, a name or dtype that the format does not support, a file that cannot be written,
            or a ``.yml`` of that name with other content. Then nothing is written.
        SpecError: the spec is not valid.
    """
    path = Path(path)
    check_arrays(weights)
    if spec is None and isinstance(weights, Weights):
        spec = weights.spec
    if spec == {}:  # it would mean FastReID's defaults
        raise SpecError("spec: empty; expected settings. Give a ModelSpec, or None for no spec.")
    if spec is not None and not isinstance(spec, ModelSpec):
        spec = load_spec(spec)
    if spec is None or READERS.get(path.suffix.lower()) in (".safetensors", None):
        write_weights(weights, path, None if spec is None else spec.model_dump(mode="json"))
        return
    beside = path.with_suffix(".yml")
    text = _write(spec, Weights(dict(weights)).digest())
    _check_free(beside, text, path)
    logger.warning(f"{path.suffix} cannot hold the spec of the model; it is written beside, to {beside}")
    with written_whole(path) as temporary:
        temporary.with_suffix(beside.suffix).write_bytes(text)
        write_weights(weights, temporary)


def convert(checkpoint: str | os.PathLike[str], path: str | os.PathLike[str], key: str | None = None) -> Weights:
    """Write a checkpoint in another format, with the spec that is in it or beside it; returns what was read.

    Args:
        checkpoint: ``.pth``, ``.wts`` or ``.safetensors``.
        path: the new file; see `save_weights`.
        key: the entry of a ``.pth`` that holds the state dict; see `fastrt.load_weights`.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        SpecError: its spec is not valid, or that of other weights.
        OutputError: as `save_weights`; or ``path`` is the checkpoint.
    """
    checkpoint, path = Path(checkpoint), Path(path)
    refuse_inputs([path], [checkpoint])
    weights = load_weights(checkpoint, key)
    found = find_spec(checkpoint, weights)
    save_weights(weights, path, spec=None if found is None else found[0])
    return weights


def find_spec(checkpoint: Path, weights: Weights, overrides: Sequence[object] = ()) -> tuple[ModelSpec, str] | None:
    """Find the spec in a checkpoint or beside it; returns it and the name of the file that has it.

    Args:
        checkpoint: the weights file.
        weights: its content.
        overrides: ``[key, value, key, value, ...]``, applied last.

    Raises:
        SpecError: the spec is not valid, or it is that of other weights.
    """
    if weights.spec is not None:
        try:
            load_spec(weights.spec)
        except SpecError as error:
            raise SpecError(
                f"{checkpoint}: the stored spec is not valid ({error}); expected a spec of this version. Give --config."
            ) from None
        return load_spec(weights.spec, overrides), checkpoint.name
    beside = checkpoint.with_suffix(".yml")
    digest = _read_digest(beside)
    if digest is None:
        return None
    if digest != weights.digest():
        raise SpecError(
            f"{beside}: spec of other weights than {checkpoint.name}; expected those it was written with. Give"
            " --config, or delete the spec."
        )
    return load_spec(beside, overrides), beside.name


def _write(spec: ModelSpec, digest: str) -> bytes:
    """Write a spec as a config of FastReID. Open settings are left out, so that they stay open."""
    fields = {field: key for key, field in reversed(FIELDS.items())}  # reversed: the current key of a field wins
    flat: dict[str, Any] = {"MODEL.META_ARCHITECTURE": spec.meta_architecture}
    flat |= {
        f"{GROUP}.{key}": getattr(spec.backbone, field) for key, field in type(spec.backbone).config_keys().items()
    }
    flat |= {fields[name]: value for name, value in spec.model_dump(mode="json").items() if name in fields}
    config: dict[str, Any] = {}
    for key, value in flat.items():
        if value not in (None, "auto"):
            *groups, leaf = key.split(".")
            inner = config
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[leaf] = value
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=None)
    return f"# Spec by fastrt of the weights {digest}\n{text}".encode()


def _read_digest(path: Path) -> str | None:
    """Return the digest in the first line of a spec that fastrt wrote; None for another file, or none."""
    try:
        with path.open("rb") as file:
            match = FIRST_LINE.match(file.read(200))
    except OSError:
        return None
    return match[1].decode() if match else None


def _check_free(path: Path, text: bytes, weights: Path) -> None:
    """Raise `OutputError` if a file is there that is not the same spec, of these weights or of older ``weights``."""
    if not os.path.exists(path):  # noqa: PTH110 (takes names that are too long for a file)
        return
    try:
        found = path.read_bytes()
    except OSError:
        found = b""
    digest = _read_digest(path)
    if digest is None or found.split(b"\n", 1)[1] != text.split(b"\n", 1)[1]:
        reason = "exists, and differs from the spec of the model"
    elif found != text and (owner := _find_owner(path, digest, weights)) is not None:
        reason = f"exists, and is the spec of {owner.name}, which has other weights"
    else:
        return
    raise OutputError(
        f"{path}: {reason}; expected a free name, as the spec is written there. Rename or delete it, or name another"
        " output."
    )


def _find_owner(path: Path, digest: str, weights: Path) -> Path | None:
    """Find the weights file beside a spec that the spec is of, other than ``weights``, which is to be replaced."""
    for other in path.parent.iterdir():
        if other.stem == path.stem and other.suffix.lower() in READERS and other.name != weights.name:
            with suppress(CheckpointError):
                if load_weights(other).digest() == digest:
                    return other
    return None

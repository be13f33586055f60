"""Finds the model's state dict among the objects of a torch file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastrt.errors import CheckpointError
from fastrt.weights.stand_ins import NumpyArray, Opaque, Tensor
from fastrt.weights.weights import find_prefix

MODEL_KEYS = ("model", "state_dict")
"""Keys of the weights in training checkpoints: FastReID uses the first, other frameworks the second."""

SHOWN = 8
"""Maximum number of keys in a message."""


LONGEST = 1000
"""Characters of the longest dotted key. A file may hold a thousand entries below one name of a megabyte."""


def find_state_dict(path: Path, content: object, key: str | None = None) -> Mapping[Any, object]:
    """Find the state dict under ``key``; by default under model, state_dict, or at the top level.

    Args:
        path: of the file, for messages.
        content: the file's objects.
        key: the name of an entry; ``state_dict.model`` is the entry model of the entry state_dict.

    Raises:
        CheckpointError: no state dict is there, or, without a key, several state dicts hold the same names.
    """
    if key is None:
        value, where = _find_default(content), "under model, state_dict or at the top level"
    else:
        value, where = _descend(content, key), f"under {key}"
    if isinstance(value, Opaque):
        raise CheckpointError(
            f"{path}: object of class {value}; expected a state dict. Save the model's state_dict() with torch.save."
        )
    found = _list_state_dicts(content)
    if not isinstance(value, dict) or not _has_tensors(value):
        if found:
            raise CheckpointError(
                f"{path}: no state dict {where}; expected one there. Tensors are under {_list(found)}: choose one with"
                f" --key {next(iter(found))}."
            )
        keys = (_list(content) or "nothing") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: no state dict, found {keys}; expected one {where}. Check the file.")
    if key is None:
        _refuse_rivals(path, value, found)
    return value


def _find_default(content: object) -> object:
    """Return the first state dict of the default places, or else the first object there."""
    places = [content[name] for name in MODEL_KEYS if name in content] if isinstance(content, dict) else []
    places.append(content)
    return next(
        (value for value in places if _has_tensors(value)),
        next((value for value in places if isinstance(value, Opaque)), None),
    )


def _refuse_rivals(path: Path, chosen: dict[Any, object], found: Mapping[str, dict[Any, object]]) -> None:
    """Raise if another state dict has the names of the chosen one, such as the averaged weights of a training."""
    names = _bare_names(chosen)
    rivals = [key for key, value in found.items() if len(names & _bare_names(value)) * 2 > len(names)]
    if len(rivals) > 1:
        raise CheckpointError(
            f"{path}: state dicts of one model under {_list(rivals)}; expected one. Choose it with --key"
            f" {next(filter(None, rivals))}."
        )


def _list(names: Any) -> str:
    shown = [str(name) or "the top level" for name in list(names)[:SHOWN]]
    return ", ".join([*shown, *(["..."] if len(names) > SHOWN else [])])


def _descend(content: object, key: str) -> object:
    """Return the entry of a dotted key; None if there is none. A name may contain dots itself."""
    if not isinstance(content, dict):
        return None
    if key in content:
        return content[key]
    for i, character in enumerate(key):
        if character == "." and (found := _descend(content.get(key[:i]), key[i + 1 :])) is not None:
            return found
    return None


def _list_state_dicts(content: object) -> dict[str, dict[Any, object]]:
    """List the dictionaries that hold tensors, by dotted key: the top level, its entries and theirs."""
    found: dict[str, dict[Any, object]] = {}
    level = {"": content}
    seen: set[int] = set()
    for _ in range(3):
        inner: dict[str, object] = {}
        for name, value in level.items():
            if isinstance(value, dict) and id(value) not in seen:  # a file may refer to one a million times
                seen.add(id(value))
                if _has_tensors(value):
                    found[name] = value
                inner |= {
                    f"{name}.{key}".removeprefix("."): entry
                    for key, entry in value.items()
                    if type(key) is str and len(name) + len(key) < LONGEST
                }
        level = inner
    return found


def _has_tensors(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(entry, Tensor | NumpyArray) for entry in value.values())


def _bare_names(state: Mapping[Any, object]) -> set[str]:
    names = [name for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor | NumpyArray)]
    prefix = find_prefix(names)
    return {name.removeprefix(prefix) for name in names}

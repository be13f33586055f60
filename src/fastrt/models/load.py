"""Loads a checkpoint with its description: from a config, from a spec in or beside it, or by a guess."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrt.errors import CheckpointError, SpecError, SpecNeededError
from fastrt.ir.network import Network
from fastrt.models.config import load_spec
from fastrt.models.guess import Guess, format_value, guess_spec
from fastrt.models.reid import build_network
from fastrt.models.spec import ModelSpec
from fastrt.models.spec_file import find_spec
from fastrt.signatures import checked
from fastrt.weights import Weights, load_weights

logger = logging.getLogger("fastrt")

OPEN = (None, "auto")
"""Values of settings that are inferred from the checkpoint."""


@dataclass(frozen=True)
class Model:
    """A spec with its weights.

    Attributes:
        spec: the model.
        weights: the checkpoint's arrays.
        notes: settings inferred or assumed without a config, as sentences; `network` logs them as warnings.
    """

    spec: ModelSpec
    weights: Weights
    notes: tuple[str, ...]

    def network(self) -> Network:
        """Log the notes and build the network. Raises as `fastrt.build_network` does."""
        for note in self.notes:
            logger.warning(note)
        return build_network(self.spec, self.weights)


@checked(CheckpointError, "checkpoint", "key")
@checked(SpecError, "config", "overrides", "guess")
def load_model(
    checkpoint: str | os.PathLike[str],
    config: str | os.PathLike[str] | None = None,
    overrides: Sequence[object] = (),
    *,
    guess: bool = False,
    key: str | None = None,
) -> Model:
    """Read a checkpoint and its model description.

    Args:
        checkpoint: ``.pth``, ``.wts`` or ``.safetensors``.
        config: FastReID's YAML, or a preset's name. If None, the spec in the checkpoint is used, or the one that
            fastrt wrote beside it. With a config, that spec still fills open settings, and differences are noted.
        overrides: ``[key, value, key, value, ...]``, applied last.
        guess: without a config and a spec, assume FastReID's usual values of the settings that names do not show. For
            torchreid's models they are assumed without it, and logged.
        key: the entry of a ``.pth`` that holds the state dict; see `fastrt.load_weights`.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        SpecError: the config cannot be read, or neither names nor config determine the model.
        SpecNeededError: without ``guess``, there is neither config nor spec, and ``overrides`` lack settings that
            names do not show.
    """
    return describe_weights(Path(checkpoint), load_weights(checkpoint, key), config, overrides, guess=guess)


def describe_weights(
    checkpoint: Path,
    weights: Weights,
    config: str | os.PathLike[str] | None = None,
    overrides: Sequence[object] = (),
    *,
    guess: bool = False,
) -> Model:
    """Find the description of weights that were read from ``checkpoint``; see `load_model`."""
    if config is not None:
        return Model(*_compare(load_spec(config, overrides), checkpoint, weights))
    found = find_spec(checkpoint, weights, overrides)
    if found is not None:
        spec, name = found
        return Model(spec, weights, (f"without a config, the spec in {name} is used: {spec.title}",))
    guessed = guess_spec(weights).without([str(key) for key in overrides[::2]])
    if not (guessed.determined or guess):
        raise _need_spec(checkpoint, guessed)
    spec = load_spec(guessed.spec.model_dump(), overrides) if overrides else guessed.spec
    return Model(spec, weights, guessed.notes)


def _compare(spec: ModelSpec, checkpoint: Path, weights: Weights) -> tuple[ModelSpec, Weights, tuple[str, ...]]:
    """Fill the open settings of a config's spec from the checkpoint's own; note the settings that differ."""
    try:
        found = find_spec(checkpoint, weights)
    except SpecError:  # of other weights, or not valid: the config takes its place
        found = None
    if found is None:
        return spec, weights, ()
    stored, name = found
    own, other = (dict(_list_settings(given)) for given in (spec, stored))
    both = own.keys() & other.keys() - {"backbone.norm"}  # all norms are the same at inference
    differing = [key for key in own if key in both and own[key] != other[key] and other[key] not in OPEN]
    alike = type(spec.backbone) is type(stored.backbone)
    filled = {key: other[key] for key in differing if own[key] in OPEN and alike}
    notes = [
        f"{key} is {own[key]} by the config and {other[key]} by the spec in {name}; the config's is used"
        for key in differing
        if own[key] not in OPEN
    ]
    notes += [f"{key} is {value}, by the spec in {name}" for key, value in filled.items()]
    backbone = {key.removeprefix("backbone."): value for key, value in filled.items() if key.startswith("backbone.")}
    top = {key: value for key, value in filled.items() if not key.startswith("backbone.")}
    return spec.replace(**top, backbone=spec.backbone.replace(**backbone)), weights, tuple(notes)


def _list_settings(spec: ModelSpec) -> Iterator[tuple[str, object]]:
    """List a spec's settings, by the names of their fields."""
    for key, value in spec.model_dump(mode="json").items():
        if key == "backbone":
            yield from ((f"backbone.{name}", setting) for name, setting in value.items())
        else:
            yield key, value


def _need_spec(checkpoint: Path, guess: Guess) -> SpecNeededError:
    found = f"{checkpoint}: no config, and no spec in the file or beside it"
    beside = checkpoint.with_suffix(".yml")
    if beside.is_file():
        return SpecNeededError(
            f"{found}; expected one. If {beside} is its config, give it with --config.", ("--config", str(beside))
        )
    return SpecNeededError(
        f"{found}; expected one, as names show {guess.spec.title}, but not these settings, here with FastReID's usual"
        f" values: {guess.describe_assumed()}. Give its --config; or accept these values with --guess; or give yours.",
        tuple(word for key, value in guess.assumed.items() for word in ("--set", key, format_value(value))),
    )

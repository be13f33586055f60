"""Loads a checkpoint with its description: from a config, from the file itself, or from its names."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from fastrt.errors import SpecError
from fastrt.ir.network import Network
from fastrt.models.config import load_spec
from fastrt.models.guess import guess_spec
from fastrt.models.reid import build_network
from fastrt.models.spec import ModelSpec
from fastrt.weights import Weights, load_weights

logger = logging.getLogger("fastrt")


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


def load_model(
    checkpoint: str | os.PathLike[str],
    config: str | os.PathLike[str] | None = None,
    overrides: Sequence[object] = (),
) -> Model:
    """Read a checkpoint and its model description.

    Args:
        checkpoint: ``.pth``, ``.wts`` or ``.safetensors``.
        config: FastReID's YAML, or a preset's name. If None, the spec stored in the checkpoint is used; without one,
            the spec is inferred from the names.
        overrides: ``[key, value, key, value, ...]``, applied last.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        SpecError: the config cannot be read, or neither names nor config determine the model.
    """
    weights = load_weights(checkpoint)
    if config is not None:
        return Model(load_spec(config, overrides), weights, ())
    if weights.spec is not None:
        try:
            spec = load_spec(weights.spec, overrides)
        except SpecError as error:
            raise SpecError(
                f"{checkpoint}: the stored spec is not valid ({error}); expected a spec of this version. Give --config."
            ) from None
        return Model(spec, weights, (f"without a config, the spec in {weights.source} is used: {spec.title}",))
    guess = guess_spec(weights)
    spec = load_spec(guess.spec.model_dump(), overrides) if overrides else guess.spec
    return Model(spec, weights, guess.notes)

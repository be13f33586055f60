"""Exceptions of fastrt. Each message says where, what was found, what was expected and what to do.

::

    FastrtError                  base class: catch it to catch all others
    ├── SpecError                a config, an override or a spec that is invalid or not supported
    │   └── SpecNeededError      a checkpoint whose names do not show its whole model
    ├── CheckpointError          a weights file that cannot be read
    │   └── WeightsError         weights that do not fit the network
    ├── NetworkError             an inconsistent network description
    ├── TargetError              a target, precision or device that this host does not have
    ├── EngineError              an engine file that cannot be read, built or run
    ├── CalibrationError         a calibration table, or calibration images, that cannot be used
    ├── EvaluationError          identities, cameras or a data set that cannot be evaluated
    ├── ImageError               an image or a batch that cannot be embedded
    └── OutputError              an output that cannot be written

The command line prints the message and exits with 2.
"""

from __future__ import annotations


class FastrtError(Exception):
    """Base of every error that fastrt raises on purpose."""


class SpecError(FastrtError):
    """A config, an override or a spec that is invalid or describes a network that fastrt does not support."""


class SpecNeededError(SpecError):
    """A checkpoint without a spec, whose names do not show its whole model.

    Attributes:
        options: the command-line options that give the guess: ``("--set", "INPUT.SIZE_TEST", "[256,128]", ...)``.
    """

    def __init__(self, message: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.options = options


class CheckpointError(FastrtError):
    """A weights file that cannot be read: missing, truncated, of another format, or unsafe."""


class WeightsError(CheckpointError):
    """Weights that do not fit the network: missing, unexpected, of another shape or not finite."""


class NetworkError(FastrtError):
    """An inconsistent network description: an unknown tensor, a shape that does not fit."""


class TargetError(FastrtError):
    """A target, precision or device that this host does not have."""


class EngineError(FastrtError):
    """An engine file that cannot be read, built or run."""


class CalibrationError(FastrtError):
    """A calibration table, or calibration images, that cannot be used: of another network, too few, damaged."""


class EvaluationError(FastrtError):
    """Identities, cameras or a data set that cannot be evaluated: missing, incomplete, without a true match."""


class ImageError(FastrtError):
    """An image or a batch that cannot be embedded."""


class OutputError(FastrtError):
    """An output that cannot be written."""

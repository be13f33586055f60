"""The exceptions of fastrt, all of which say where, what was found, what was wanted and what to do.

::

    FastrtError                  the base: catch this one to catch all
    ├── SpecError                a config, an override or a spec that describes no network fastrt knows
    ├── CheckpointError          a weights file that cannot be read
    │   └── WeightsError         weights that were read but do not fit the network
    ├── NetworkError             a network description that does not hold together
    ├── TargetError              a target, precision or device that this machine does not have
    ├── EngineError              an engine file that cannot be read, built or run
    ├── CalibrationError         a calibration table, or images for one, that cannot be used
    ├── EvaluationError          identities, cameras or a data set that nothing can be measured on
    ├── ImageError               an image, or a batch of them, that no embedding can come from
    └── OutputError              an output that cannot be written

The command line prints the message as one sentence and exits with 2.
"""

from __future__ import annotations


class FastrtError(Exception):
    """Base of every error that fastrt raises on purpose."""


class SpecError(FastrtError):
    """A config, an override or a spec that describes no network fastrt knows."""


class CheckpointError(FastrtError):
    """A weights file that cannot be read: missing, truncated, of another kind, or unsafe."""


class WeightsError(CheckpointError):
    """Weights that were read but do not fit the network: missing, unexpected, misshapen or not finite."""


class NetworkError(FastrtError):
    """A network description that does not hold together: an unknown tensor, a shape that does not fit."""


class TargetError(FastrtError):
    """A target, precision or device that this machine does not have."""


class EngineError(FastrtError):
    """An engine file that cannot be read, built or run."""


class CalibrationError(FastrtError):
    """A calibration table, or images for one, that cannot be used: of another network, too few, damaged."""


class EvaluationError(FastrtError):
    """Identities, cameras or a data set that nothing can be measured on: missing, partial, without a true match."""


class ImageError(FastrtError):
    """An image, or a batch of them, that no embedding can come from."""


class OutputError(FastrtError):
    """An output that cannot be written."""

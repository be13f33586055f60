"""fastrt deploys person re-identification networks: FastReID checkpoints to engines, embeddings right or refused.

::

    spec    = fastrt.load_spec("sbs_R50-ibn.yml")
    weights = fastrt.load_weights("model_best.pth")
    network = fastrt.build_network(spec, weights)
    fastrt.build(network, "r50.xml")
    with fastrt.load("r50.xml") as session:
        embeddings = session(images)
"""

from __future__ import annotations

import importlib

from fastrt.errors import (
    CalibrationError,
    CheckpointError,
    EngineError,
    EvaluationError,
    FastrtError,
    ImageError,
    NetworkError,
    OutputError,
    SpecError,
    SpecNeededError,
    TargetError,
    WeightsError,
)
from fastrt.version import __version__

TYPE_CHECKING = False  # as in typing, whose import would take a while
if TYPE_CHECKING:
    from fastrt import datasets
    from fastrt.building import BuildReport, build
    from fastrt.engine.calibration_table import CalibrationTable, read_table
    from fastrt.engine.checks import Report
    from fastrt.engine.load import describe, load
    from fastrt.engine.session import Session
    from fastrt.engine.verify import verify
    from fastrt.evaluation.evaluate import Scores, evaluate
    from fastrt.evaluation.match import Matches, match
    from fastrt.images.preprocess import read_image
    from fastrt.ir.network import Network
    from fastrt.models.config import load_spec
    from fastrt.models.guess import Guess, guess_spec
    from fastrt.models.load import Model, load_model
    from fastrt.models.presets import preset_names
    from fastrt.models.reid import build_network
    from fastrt.models.spec import ModelSpec
    from fastrt.models.spec_file import save_weights
    from fastrt.quantization.calibrate import calibrate
    from fastrt.quantization.report import QuantizationReport
    from fastrt.targets.engine_info import EngineInfo
    from fastrt.timing.session import Timing, benchmark
    from fastrt.weights import Weights, load_weights

__all__ = [
    "BuildReport",
    "CalibrationError",
    "CalibrationTable",
    "CheckpointError",
    "EngineError",
    "EngineInfo",
    "EvaluationError",
    "FastrtError",
    "Guess",
    "ImageError",
    "Matches",
    "Model",
    "ModelSpec",
    "Network",
    "NetworkError",
    "OutputError",
    "QuantizationReport",
    "Report",
    "Scores",
    "Session",
    "SpecError",
    "SpecNeededError",
    "TargetError",
    "Timing",
    "Weights",
    "WeightsError",
    "__version__",
    "benchmark",
    "build",
    "build_network",
    "calibrate",
    "datasets",
    "describe",
    "evaluate",
    "guess_spec",
    "load",
    "load_model",
    "load_spec",
    "load_weights",
    "match",
    "preset_names",
    "read_image",
    "read_table",
    "save_weights",
    "verify",
]

_HOMES = {
    "building": "BuildReport build",
    "engine.calibration_table": "CalibrationTable read_table",
    "engine.checks": "Report",
    "engine.load": "describe load",
    "engine.session": "Session",
    "engine.verify": "verify",
    "evaluation.evaluate": "Scores evaluate",
    "evaluation.match": "Matches match",
    "images.preprocess": "read_image",
    "ir.network": "Network",
    "models.config": "load_spec",
    "models.guess": "Guess guess_spec",
    "models.load": "Model load_model",
    "models.presets": "preset_names",
    "models.reid": "build_network",
    "models.spec": "ModelSpec",
    "models.spec_file": "save_weights",
    "quantization.calibrate": "calibrate",
    "quantization.report": "QuantizationReport",
    "targets.engine_info": "EngineInfo",
    "timing.session": "Timing benchmark",
    "weights": "Weights load_weights",
}
"""Names of the API by module. A module is imported when one of its names is first used."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a name of the API, so that ``import fastrt`` is fast and the command line can be interrupted early."""
        if name == "datasets":
            return importlib.import_module("fastrt.datasets")
        for module, names in _HOMES.items():
            if name in names.split():
                return globals().setdefault(name, getattr(importlib.import_module(f"fastrt.{module}"), name))
        raise AttributeError(f"module 'fastrt' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The API, without the rooms behind it."""
    return __all__

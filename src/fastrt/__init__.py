"""fastrt deploys person re-identification networks: FastReID checkpoints to engines, embeddings right or refused.

::

    spec    = fastrt.load_spec("sbs_R50-ibn.yml")
    weights = fastrt.load_weights("model_best.pth")
    network = fastrt.build_network(spec, weights)
    fastrt.build(network, "r50.xml")
    with fastrt.load("r50.xml") as session:
        embeddings = session(images)
"""

__version__ = "0.1.0"

from fastrt import datasets
from fastrt.benchmark.timing import Timing, benchmark
from fastrt.calibration.calibrate import calibrate
from fastrt.calibration.table import CalibrationTable, read_table
from fastrt.config import load_spec, preset_names
from fastrt.engine import build, describe, load
from fastrt.engine_info import EngineInfo
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
    TargetError,
    WeightsError,
)
from fastrt.evaluate.evaluate import Scores, evaluate
from fastrt.guess import Guess, guess_spec
from fastrt.model import Model, load_model
from fastrt.models.reid import build_network
from fastrt.network import Network
from fastrt.preprocess import read_image
from fastrt.session import Session
from fastrt.spec import ModelSpec
from fastrt.verify import Report, verify
from fastrt.weights import Weights, load_weights, save_weights

__all__ = [
    "CalibrationError",
    "CalibrationTable",
    "CheckpointError",
    "EngineError",
    "EngineInfo",
    "EvaluationError",
    "FastrtError",
    "Guess",
    "ImageError",
    "Model",
    "ModelSpec",
    "Network",
    "NetworkError",
    "OutputError",
    "Report",
    "Scores",
    "Session",
    "SpecError",
    "TargetError",
    "Timing",
    "Weights",
    "WeightsError",
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
    "preset_names",
    "read_image",
    "read_table",
    "save_weights",
    "verify",
]

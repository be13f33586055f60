"""Layer formats, read from a fake inspector that behaves like TensorRT 8.6's."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from fastrt.targets.base import Layer
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import Capabilities
from fastrt.targets.tensorrt.inspection import list_layers

TRT = SimpleNamespace(
    LayerInformationFormat=SimpleNamespace(JSON="json"), TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out")
)
LARGEST = (1, 8)
NAMES = ("conv1", "conv2", "conv1 [profile 1]", "conv2 [profile 1]")


class Context:
    def __init__(self) -> None:
        self.profile = 0
        self.batch = 0
        self.inferred = False

    def set_optimization_profile_async(self, profile: int, _stream: int) -> bool:
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        assert name == "images"
        self.batch = shape[0]

    def infer_shapes(self) -> None:
        assert self.batch == LARGEST[self.profile]
        self.inferred = True


class Inspector:
    execution_context: Context | None = None

    def get_engine_information(self, _kind: str) -> str:
        """Return nothing if there are several profiles and a context is set."""
        return "" if self.execution_context else _write({"Layers": [_report(name, None) for name in NAMES]})

    def get_layer_information(self, index: int, _kind: str) -> str:
        """Return nothing for layers of profiles other than the context's."""
        context, name = self.execution_context, NAMES[index]
        if context is None or name.endswith("[profile 1]") != (context.profile == 1):
            return ""
        return _write(_report(name, context.batch if context.inferred else None))


def _write(report: dict[str, Any]) -> str:
    """Return JSON with unescaped control characters, as TensorRT 8.6 writes it."""
    return json.dumps(report).replace("\\u001e", "\x1e")


def _report(name: str, batch: int | None) -> dict[str, Any]:
    known = "N/A due to dynamic shapes" if batch is None else "Channel major FP16"
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Metadata": "[ONNX Layer: conv]\x1e[ONNX Layer: relu]",
        "Outputs": [{"Dimensions": [batch or -1, 64, 8, 4], "Format/Datatype": known}],
    }


class Engine:
    num_optimization_profiles = len(LARGEST)
    num_io_tensors = 2

    def create_engine_inspector(self) -> Inspector:
        return Inspector()

    def create_execution_context(self) -> Context:
        return Context()

    def get_tensor_name(self, index: int) -> str:
        return ("images", "embedding")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "images" else "out"

    def get_tensor_shape(self, _name: str) -> tuple[int, ...]:
        return (-1, 16, 8, 3)

    def get_tensor_profile_shape(self, _name: str, profile: int) -> list[tuple[int, ...]]:
        return [(size, 16, 8, 3) for size in (1, LARGEST[profile], LARGEST[profile])]


def test_each_layer_is_read_in_its_own_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SimpleNamespace(handle=1, wait=lambda: None, close=lambda: None)
    monkeypatch.setattr(cuda, "Stream", lambda: stream)
    layers = list_layers(Capabilities(TRT, "tensorrt"), Engine())
    assert layers == [Layer(name, "CaskConvolution Channel major FP16", (64, 8, 4)) for name in NAMES]

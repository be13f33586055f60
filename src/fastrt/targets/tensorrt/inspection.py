"""The layers of an engine, read from TensorRT's engine inspector."""

from __future__ import annotations

import json
import re
from typing import Any

from fastrt.errors import EngineError
from fastrt.targets.base import Layer
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import Capabilities, Trt

OF_PROFILE = re.compile(r" \[profile (\d+)\]$")
"""Suffix of layer names that belong to a profile after the first."""


def list_layers(capabilities: Capabilities, engine: Trt) -> list[Layer]:
    """List the layers of all profiles, with the formats of each profile's largest batch."""
    kind = capabilities.trt.LayerInformationFormat.JSON
    inspector = engine.create_engine_inspector()
    layers = [_read(layer) for layer in _parse(inspector.get_engine_information(kind)).get("Layers", [])]
    for profile in range(engine.num_optimization_profiles):
        inspector.execution_context = context = _create_context(capabilities, engine, profile)
        for i, layer in enumerate(layers):
            # The inspector reports nothing about layers of profiles other than the context's.
            if _profile_of(layer.name) == profile and (text := inspector.get_layer_information(i, kind)):
                layers[i] = _read(_parse(text))
        inspector.execution_context = None
        del context
    return layers


def _parse(text: str) -> dict[str, Any]:
    """Parse the inspector's JSON, which has control characters for layers from an ONNX parser."""
    found: dict[str, Any] = json.loads(text, strict=False)
    return found


def _create_context(capabilities: Capabilities, engine: Trt, profile: int) -> Trt:
    """Create a context for the largest batch of a profile; formats are known only after shape inference."""
    context, stream = engine.create_execution_context(), cuda.Stream()
    chosen = context is not None and context.set_optimization_profile_async(profile, int(stream.handle))
    stream.wait()
    stream.close()
    if not chosen:
        raise EngineError("tensorrt: it cannot create a context to list layers. Check that the GPU has free memory.")
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        is_input = engine.get_tensor_mode(name) == capabilities.trt.TensorIOMode.INPUT
        if is_input and -1 in tuple(engine.get_tensor_shape(name)):
            context.set_input_shape(name, tuple(engine.get_tensor_profile_shape(name, profile)[2]))
    context.infer_shapes()
    return context


def _profile_of(name: str) -> int:
    """Return the profile of a layer.

    >>> _profile_of("backbone.conv1"), _profile_of("backbone.conv1 [profile 1]")
    (0, 1)
    """
    found = OF_PROFILE.search(name)
    return int(found[1]) if found else 0


def _read(layer: str | dict[str, Any]) -> Layer:
    if isinstance(layer, str):  # the plan was built without detailed profiling verbosity
        return Layer(layer, "layer", ())
    outputs = layer.get("Outputs") or [{}]
    kind = f"{layer.get('LayerType', 'layer')} {outputs[0].get('Format/Datatype', '')}".strip()
    return Layer(str(layer.get("Name", "")), kind, tuple(outputs[0].get("Dimensions", ()))[1:])

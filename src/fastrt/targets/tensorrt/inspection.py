"""The layers of an engine, as TensorRT's inspector tells of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from fastrt.errors import EngineError
from fastrt.targets.base import Layer
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.dialect import Dialect, Trt

UNKNOWN = "N/A due to dynamic shapes"
"""What the inspector says of formats in a profile that no batch was chosen for."""


def list_layers(dialect: Dialect, engine: Trt) -> list[Layer]:
    """The layers of all profiles, in the formats that each profile's largest batch has."""
    context = engine.create_execution_context()
    if context is None:
        raise EngineError("tensorrt makes no context to tell of the layers: is the GPU's memory full?")
    stream = cuda.Stream()
    inspector = engine.create_engine_inspector()
    layers: dict[str, Layer] = {}
    for profile in range(engine.num_optimization_profiles):
        context.set_optimization_profile_async(profile, int(stream.handle))
        stream.wait()
        for name, shape in _list_batches(dialect, engine, profile):
            context.set_input_shape(name, shape)
        inspector.execution_context = context
        for layer in _read(inspector.get_engine_information(dialect.trt.LayerInformationFormat.JSON)):
            if layer.name not in layers or UNKNOWN in layers[layer.name].kind:
                layers[layer.name] = layer
    stream.close()
    return list(layers.values())


def _list_batches(dialect: Dialect, engine: Trt, profile: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The inputs whose shape is to be chosen, and the largest that a profile allows."""
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        is_input = engine.get_tensor_mode(name) == dialect.trt.TensorIOMode.INPUT
        if is_input and -1 in tuple(engine.get_tensor_shape(name)):
            yield name, tuple(engine.get_tensor_profile_shape(name, profile)[2])


def _read(text: str) -> Iterator[Layer]:
    for layer in json.loads(text).get("Layers", []):
        if isinstance(layer, str):  # of a plan that was not built to tell more
            yield Layer(layer, "layer", ())
            continue
        outputs = layer.get("Outputs") or [{}]
        kind = f"{layer.get('LayerType', 'layer')} {outputs[0].get('Format/Datatype', '')}".strip()
        yield Layer(str(layer.get("Name", "")), kind, tuple(outputs[0].get("Dimensions", ()))[1:])

"""What TensorRT 8 is asked for, with a network definition that takes down what it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from fastrt.network import INPUT, Network, Tensor, make_tensor
from fastrt.ops import Convolution, Input, Multiply, QuantizeDequantize, Relu
from fastrt.passes.half import compute_in_half
from fastrt.passes.quantize import quantize_weights
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class Definition:
    """Makes a layer of the kind that is asked for, and remembers it."""

    def __init__(self) -> None:
        self.layers: list[Any] = []

    def __getattr__(self, add: str) -> Any:
        def make(*_: object) -> Any:
            kind = {"add_convolution_nd": "CONVOLUTION", "add_elementwise": "ELEMENTWISE"}.get(add, add)
            self.layers.append(MagicMock(type=kind, precision=None))
            return self.layers[-1]

        return make


def _network() -> Network:
    image = make_tensor(INPUT, Input((8, 4, 4)), [])
    weights = Convolution(np.ones((8, 8, 1, 1), np.float32))
    quantized = make_tensor("quantized", QuantizeDequantize(0.5, 0, "int8"), [image])
    integers = make_tensor("integers", quantize_weights(weights), [quantized])
    floats = make_tensor("floats", weights, [integers])
    product = make_tensor("product", Multiply(), [floats, integers])
    tensors: list[Tensor] = [image, quantized, integers, floats, product, make_tensor("relu", Relu(), [product])]
    return compute_in_half(Network(tuple(tensors)), "float16")


@pytest.mark.parametrize(("quantized", "asked"), [(True, {"floats", "product"}), (False, set())])
def test_beside_int8_what_stayed_in_floating_point_is_asked_for_in_half(quantized: bool, asked: set[str]) -> None:
    definition = Definition()
    trt = MagicMock()
    trt.LayerType.CONVOLUTION, trt.LayerType.ELEMENTWISE, trt.DataType.HALF = "CONVOLUTION", "ELEMENTWISE", "half"
    dialect: Any = SimpleNamespace(trt=trt, strongly_typed=False, data_type=MagicMock(), weights=MagicMock())
    lowering = TensorRtLowering(dialect, definition, [], half=True, quantized=quantized)
    for _ in lowering.lower(_network()):
        pass
    assert {layer.name for layer in definition.layers if layer.precision == "half"} == asked
    assert lowering.bound == bool(asked)

"""A lowering refuses an unknown operation before it lowers any."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
import pytest

import fastrt
from fastrt.ir.network import INPUT, Network, make_tensor
from fastrt.ir.ops import OPERATIONS, Input, Operation, Relu
from fastrt.targets.reference import Reference

LOWERINGS = {
    "reference": "Reference",
    "openvino": "OpenVinoLowering",
    "onnx": "OnnxLowering",
    "tensorrt": "TensorRtLowering",
}


@pytest.mark.parametrize("target", LOWERINGS)
def test_a_lowering_has_a_method_for_each_operation(target: str) -> None:
    lowering = getattr(importlib.import_module(f"fastrt.targets.{target}.lowering"), LOWERINGS[target])
    assert not [kind for kind in OPERATIONS if not callable(getattr(lowering, kind, None))]


def test_a_missing_operation_is_refused_before_any_work() -> None:
    @dataclass(frozen=True, eq=False)
    class Spline(Operation):
        def infer(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
            return inputs[0]

    image = make_tensor(INPUT, Input((3, 4, 4)), [])
    relu = make_tensor("relu", Relu(), [image])
    network = Network((image, relu, make_tensor("curve", Spline(), [relu])))
    with pytest.raises(fastrt.TargetError, match="reference: it cannot lower spline, which computes curve"):
        Reference(np.zeros((1, 3, 4, 4), np.float32)).lower(network)  # not iterated

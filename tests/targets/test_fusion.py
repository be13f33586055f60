"""OpenVINO fuses the composites of the light networks, as its own graph shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import openvino as ov
import pytest

import fastrt
from fastrt.testing.untrained import draw_weights

FREE = ("Const", "Input", "Output", "Reorder", "Reshape", "Transpose")
"""Layers of the constants, of the input and of the output."""

LAYERS = {
    ("mobilenetv2", "0.1x"): {"Convolution": 52, "Eltwise": 1, "Reduce": 1},
    # 11 blocks, 9 of them with a gate: a mean, two convolutions and a product
    ("mobilenetv3", "Small"): {"Convolution": 53, "Eltwise": 1 + 9, "Reduce": 1 + 9},
    ("shufflenetv2", "0.5x"): {
        "Convolution": 56, "Eltwise": 1, "Reduce": 1, "Pooling": 1, "Concatenation": 16, "ShuffleChannels": 13,
        "Split": 13,
    },
    # 16 and 13 blocks, all with a gate
    ("effnet", "b0"): {"Convolution": 81, "Eltwise": 1 + 16, "Reduce": 1 + 16},
    ("regnet", "200y"): {"Convolution": 70, "Eltwise": 1 + 13, "Reduce": 1 + 13},
    ("repvgg", "A0"): {"Convolution": 22, "Eltwise": 1, "Reduce": 1},
}  # fmt: skip
"""All layers that compute. Eltwise is the standardisation of pixels: no activation and no batch norm has its own."""


@pytest.mark.parametrize(("family", "depth"), LAYERS)
def test_activations_norms_and_shuffles_are_fused(family: str, depth: str, tmp_path: Path) -> None:
    spec = fastrt.load_spec({
        "MODEL.BACKBONE.NAME": f"build_{family}_backbone", "MODEL.BACKBONE.DEPTH": depth, "INPUT.SIZE_TEST": [64, 32],
    })  # fmt: skip
    path = tmp_path / "engine.xml"
    fastrt.build(fastrt.build_network(spec, draw_weights(spec)), path, normalize=False)
    graph = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).get_runtime_model()
    kinds: Counter[str] = Counter()
    for node in graph.get_ordered_ops():
        info: Any = node.get_rt_info()
        kinds[info["layerType"].astype(str)] += 1
    assert {kind: count for kind, count in kinds.items() if kind not in FREE} == LAYERS[family, depth]

"""Times of layers, by the runtime's own counters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fastrt
from conftest import Run, Small
from fastrt.timing.layers import time_layers


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_each_layer_is_timed(suffix: str, small: Small, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    engine = tmp_path / f"small{suffix}"
    fastrt.build(small.network, engine)
    batch, layers = time_layers(engine, 2)
    assert batch == 2
    assert len({layer.name for layer in layers}) == len(layers)
    convolutions = [layer for layer in layers if "Conv" in layer.kind]
    assert len(convolutions) >= 20
    assert all(layer.us > 0 for layer in convolutions)


def test_inspect_sums_by_kinds_of_layers(run: Run, small: Small) -> None:
    found = json.loads(run("inspect", small.engine, "--time-layers", "--batch", "2", "--json").out)
    assert found["timed_batch"] == 2
    assert sum(kind["layers"] for kind in found["kinds"]) == len(found["layers"])
    assert sum(kind["%"] for kind in found["kinds"]) == pytest.approx(100, abs=2)
    assert found["kinds"][0]["kind"].startswith("Convolution")
    text = run("inspect", small.engine, "--time-layers").out
    assert "Convolution" in text
    assert "images.planes" not in text
    assert "images.planes" in run("inspect", small.engine, "--time-layers", "--layers").out


def test_what_cannot_be_timed_is_refused(run: Run, small: Small, tmp_path: Path) -> None:
    fastrt.build(small.network, tmp_path / "small.npz", check=False)
    for words, sentence in (
        ((small.checkpoint,), "a checkpoint; --time-layers expected an engine"),
        ((small.engine, "--batch", "0"), "layer times: batch 0; expected at least 1"),
        ((tmp_path / "small.npz",), "reference: no layer times; expected an engine of openvino, onnx or tensorrt"),
    ):
        done = run("inspect", *words, "--time-layers")
        assert done.code == 2
        assert sentence in done.err

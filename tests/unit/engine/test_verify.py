from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastrt
from conftest import Small
from fastrt.arrays import Array
from fastrt.engine.build import EngineConfig, write_engine
from fastrt.engine.verify import verify_layers
from fastrt.ir.ops import Convolution, ScaleShift
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.targets.base import Runner
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.reference import RoundingReference
from golden.cases import load_golden

SUFFIXES = [".xml", ".onnx", ".npz"]


def _spoil(network: fastrt.Network, name: str) -> fastrt.Network:
    """The same network but for one wrong row of one convolution."""
    tensors = []
    for tensor in network:
        operation = tensor.operation
        if tensor.name == name:
            assert isinstance(operation, Convolution)
            weight = operation.weight.copy()
            weight[0] = -weight[0]
            operation = replace(operation, weight=weight)
        tensors.append(replace(tensor, operation=operation))
    return replace(network, tensors=tuple(tensors))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("normalize", [True, False])
def test_a_right_engine_verifies_whole_and_by_layers(
    suffix: str, normalize: bool, small: Small, tmp_path: Path
) -> None:
    path = tmp_path / f"engine{suffix}"
    fastrt.build(small.network, path, normalize=normalize)
    with fastrt.load(path) as session:
        report = fastrt.verify(session, small.network)
    assert report, str(report)
    layers = verify_layers(path, small.network)
    assert layers, str(layers)
    names = [check.name for check in layers.checks]
    assert names[-1] == "embedding"
    assert "backbone.layer1.0.bn1" in names
    assert len(names) > 50


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_wrong_engine_does_not_and_its_first_wrong_tensor_is_named(suffix: str, small: Small, tmp_path: Path) -> None:
    path = tmp_path / f"engine{suffix}"
    fastrt.build(_spoil(small.network, "backbone.layer3.0.conv2"), path)
    with fastrt.load(path) as session:
        report = fastrt.verify(session, small.network)
    assert not report
    assert [check.name for check in report.checks if not check.passed] == ["fingerprint", "values"]
    assert str(report).endswith("not verified")
    layers = verify_layers(path, small.network)
    assert not layers
    assert layers.checks[-1].name == "backbone.layer3.0.bn2"


def test_nan_is_found(small: Small, tmp_path: Path) -> None:
    neck = small.network["heads.bottleneck.0"]
    assert isinstance(neck.operation, ScaleShift)
    shift = neck.operation.shift.copy()
    shift[5] = np.nan
    spoiled = replace(neck, operation=replace(neck.operation, shift=shift))
    tensors = tuple(spoiled if tensor is neck else tensor for tensor in small.network)
    write_engine(replace(small.network, tensors=tensors), tmp_path / "engine.xml", EngineConfig())
    with fastrt.load(tmp_path / "engine.xml") as session:
        report = fastrt.verify(session, small.network)
    assert "values       FAIL  has NaN or infinity" in str(report)
    assert not report


def test_another_networks_engine_cannot_be_compared(small: Small, tmp_path: Path) -> None:
    spec = fastrt.ModelSpec(**{**small.network.spec, "image_size": (96, 32)})
    network = fastrt.build_network(spec, small.arrays)
    with fastrt.load(small.engine) as session, pytest.raises(fastrt.EngineError) as caught:
        fastrt.verify(session, network)
    assert str(caught.value) == (
        "engine: (64, 32) images to 512 numbers; expected (96, 32) to 512, as the network."
        " Verify an engine with its own checkpoint and config."
    )


def test_one_image_is_too_few(small: Small) -> None:
    with fastrt.load(small.engine) as session, pytest.raises(fastrt.EngineError, match="expected at least 2"):
        fastrt.verify(session, small.network, [np.zeros((9, 9, 3), np.uint8)])


def test_fp16_may_differ_as_much_as_rounding_alone_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that amplifies rounding may differ as much as rounding makes it, and no more."""
    case = load_golden("bagtricks_R50")
    monkeypatch.setattr("fastrt.engine.verify.embed_reference", lambda *_: case.exact)  # as tests/golden shows
    runner = Disturbed(case.network, "fp16")
    runner.embeddings = _half(case.network, case.images)
    with fastrt.Session(runner) as session:
        assert fastrt.verify(session, case.network, list(case.images))
    runner.embeddings = np.roll(runner.embeddings, 1, axis=1)
    with fastrt.Session(runner) as session:
        report = fastrt.verify(session, case.network, list(case.images))
    assert not report
    assert "mean-centred cosine" in str(report)


class Disturbed(Runner):
    """An engine that gives embeddings which were computed elsewhere."""

    def __init__(self, network: fastrt.Network, precision: Precision) -> None:
        info = EngineInfo(
            target="openvino",
            precision=precision,
            io="u8_nhwc_bgr",
            image_size=(256, 128),
            embedding_dim=network.output.shape[0],
            normalized=False,
            fingerprint=network.fingerprint(),
        )
        super().__init__(None, info)
        self.batch = 4
        self.embeddings = np.empty(0)
        self.images = np.empty(0)

    def run(self, batch: Array) -> Array:
        if self.images.size == 0:
            self.images = batch
        rows = [int(np.flatnonzero((self.images == image).all((1, 2, 3)))[0]) for image in batch]
        return self.embeddings[rows].astype(np.float32)

    def run_intermediate(self, batch: Array) -> dict[str, Array]:
        raise NotImplementedError


def _half(network: fastrt.Network, images: Array) -> Array:
    half = compute_in_half(fold_scales(network), "float16")
    *_, (_, embeddings) = RoundingReference(images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)).lower(half)
    return embeddings

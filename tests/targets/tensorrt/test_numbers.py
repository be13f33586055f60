"""What the layers that TensorRT is given compute is what the network says."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.engine_info import EngineInfo, Precision
from fastrt.network import Network
from fastrt.passes import prepare
from fastrt.targets.reference import Reference
from fastrt.targets.tensorrt.lowering import FEW, TensorRtLowering
from golden.cases import NAMES, distance, load_golden
from targets.tensorrt.fake_definition import Definition, make_dialect
from targets.test_parity import NETWORKS


def _describe(network: Network, precision: Precision) -> EngineInfo:
    size = network.input.shape[1], network.input.shape[2]
    return EngineInfo(
        target="tensorrt",
        precision=precision,
        io="u8_nhwc_bgr",
        image_size=size,
        embedding_dim=network.output.shape[0],
        normalized=True,
    )


def _compute(network: Network, batch: Array, *, strongly_typed: bool, half: bool, most: int) -> Array:
    """By the layers that are given to an old or a new TensorRT."""
    dialect = make_dialect(strongly_typed=strongly_typed)
    lowering = TensorRtLowering(dialect, Definition(batch), [], half=half, quantized=False, batch=most)
    *_, (_, output) = lowering.lower(network)
    return np.asarray(output.value)


@cache
def _want(name: str) -> Array:
    case = load_golden(name)
    *_, (_, embeddings) = Reference(case.images[:1]).lower(prepare(case.network, _describe(case.network, "fp32")))
    return embeddings


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("strongly_typed", "precision", "most"),
    [(False, "fp16", 1), (False, "fp16", 8), (True, "fp32", 8)],
    ids=["old", "old, many images", "new"],
)
def test_golden(name: str, strongly_typed: bool, precision: Precision, most: int) -> None:
    """Weights are in float32, which moves embeddings less than FastReID's own arithmetic in float32 does."""
    case = load_golden(name)
    network = prepare(case.network, _describe(case.network, precision), typed=True, split=most > FEW)
    got = _compute(network, case.images[:1], strongly_typed=strongly_typed, half=precision == "fp16", most=most)
    assert distance(got, _want(name)) < case.noise


@pytest.mark.parametrize("strongly_typed", [False, True], ids=["old", "new"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "quantize_dequantize positive"])  # int8 alone
def test_operation(name: str, strongly_typed: bool) -> None:
    network = NETWORKS[name]
    rng = np.random.default_rng(0)
    shape = 3, *network.input.shape
    batch = rng.normal(0, 1, shape) if network.input.dtype == "float32" else rng.integers(0, 256, shape)
    *_, (_, want) = Reference(batch.astype(network.input.dtype)).lower(network)
    got = _compute(network, batch, strongly_typed=strongly_typed, half=False, most=1)
    assert distance(got, want) < 1e-6

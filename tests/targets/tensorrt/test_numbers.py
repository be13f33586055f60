"""TensorRT's layers, computed on the host, match the network."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.engine.calibration_table import TensorRange
from fastrt.ir.network import Network, Tensor
from fastrt.passes import prepare
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_sites, quantize
from fastrt.similarity import normalize_rows
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.reference import Reference
from fastrt.targets.tensorrt.lowering import FEW, TensorRtLowering
from fastrt.targets.tensorrt.target import TensorRtTarget
from golden.cases import NAMES, distance, load_golden
from targets.tensorrt.fake_definition import Definition, make_capabilities
from targets.test_parity import NETWORKS
from unrounded import UnroundedReference


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
    """Compute the layers for TensorRT before 10, or for a strongly typed TensorRT."""
    capabilities = make_capabilities(strongly_typed=strongly_typed)
    lowering = TensorRtLowering(capabilities, Definition(batch), [], half=half, quantized=False, batch=most)
    *_, (_, output) = lowering.lower(network)
    return np.asarray(output.value)


IBN = [name for name in NAMES if "ibn" in name]
VARIANTS = [
    *(pytest.param(name, False, "fp16", 8, id=f"{name}-old") for name in NAMES),
    *(pytest.param(name, False, "fp16", 1, id=f"{name}-old, few images") for name in IBN),
    *(pytest.param(name, True, "fp32", 8, id=f"{name}-new") for name in IBN),
]


@pytest.mark.parametrize(("name", "strongly_typed", "precision", "most"), VARIANTS)
def test_golden(name: str, strongly_typed: bool, precision: Precision, most: int) -> None:
    """Weights are float32, which changes embeddings less than FastReID's own float32 arithmetic."""
    case = load_golden(name)
    network = prepare(case.network, _describe(case.network, precision), strongly_typed=True, split=most > FEW)
    half = precision == "fp16"
    got = _compute(network, case.images[:1], strongly_typed=strongly_typed, half=half, most=most)
    assert distance(got, normalize_rows(case.exact[:1])) < case.noise


class LedLowering(TensorRtLowering):
    """Compute each tensor from the reference's inputs, so that a value rounded to another step changes no others."""

    wanted: dict[str, Array]

    def named(self, tensor: Tensor, value: Any) -> Any:
        value = super().named(tensor, value)
        want = self.wanted[tensor.name]
        assert np.abs(value.value - want).mean() <= 1e-6 * np.abs(want).mean(), tensor.name
        value.value = want
        return value


@pytest.mark.parametrize("most", [1, 8])
def test_int8(most: int) -> None:
    """TensorRT 8 also requires different layer names."""
    case = load_golden("sbs_R50-ibn")
    amax = 127 / 16
    limits = TensorRange(low=-amax, high=amax, amax=amax, saturated=0)
    ranges = dict.fromkeys(list_sites(fold_scales(case.network)), limits)
    network = prepare(
        case.network,
        _describe(case.network, "int8"),
        strongly_typed=True,
        split=most > FEW,
        quantized=partial(quantize, ranges=ranges, placement=TensorRtTarget.placement),
    )
    definition = Definition(case.images[:1])
    capabilities = make_capabilities(strongly_typed=False)
    lowering = LedLowering(capabilities, definition, [], half=True, quantized=True, batch=most)
    lowering.wanted = {tensor.name: value for tensor, value in UnroundedReference(case.images[:1]).lower(network)}
    for _ in lowering.lower(network):
        pass
    names = [layer.name for layer in definition.layers]
    assert len(names) == len(set(names)) > 500


@pytest.mark.parametrize("strongly_typed", [False, True], ids=["old", "new"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "quantize_dequantize positive"])  # int8 only
def test_operation(name: str, strongly_typed: bool) -> None:
    network = NETWORKS[name]
    rng = np.random.default_rng(0)
    shape = 3, *network.input.shape
    batch = rng.normal(0, 1, shape) if network.input.dtype == "float32" else rng.integers(0, 256, shape)
    *_, (_, want) = Reference(batch.astype(network.input.dtype)).lower(network)
    got = _compute(network, batch, strongly_typed=strongly_typed, half=False, most=1)
    assert distance(got, want) < 1e-6

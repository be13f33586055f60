"""Joining the convolutions of a non-local block changes no bit."""

from __future__ import annotations

import numpy as np
import pytest

import fastrt
from fastrt.ir.network import INPUT, Network, make_tensor
from fastrt.ir.ops import Convolution, Input, Multiply
from fastrt.passes.fold import fold_scales
from fastrt.passes.non_local import join_single_channels
from fastrt.targets.reference import Reference
from fastrt.testing.untrained import draw_weights

SPEC = fastrt.load_spec("sbs_R50-ibn", ["INPUT.SIZE_TEST", [64, 32]])
MAPS = ("g", "theta", "phi")


@pytest.fixture(scope="module")
def network() -> Network:
    weights = dict(draw_weights(SPEC))
    for value, name in enumerate(MAPS, start=1):
        weights[f"backbone.NL_2.0.{name}.bias"] = np.full(1, value, np.float32)
    return fold_scales(fastrt.build_network(SPEC, weights))


def test_three_maps_are_slices_of_one_convolution(network: Network) -> None:
    joined = join_single_channels(network)
    for block in ("backbone.NL_2.0", "backbone.NL_3.2"):
        assert {joined[f"{block}.{name}"].operation.kind for name in MAPS} == {"slice"}
        (source,) = {joined[f"{block}.{name}"].inputs for name in MAPS}
        together = joined[source[0]].operation
        assert isinstance(together, Convolution)
        assert len(together.weight) == 3
    convolutions = sum(isinstance(tensor.operation, Convolution) for tensor in network)
    assert sum(isinstance(tensor.operation, Convolution) for tensor in joined) == convolutions - 2 * 5


def test_joining_changes_no_value(network: Network) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 32))
    (*_, (_, want)), (*_, (_, got)) = (
        Reference(images).lower(some) for some in (network, join_single_channels(network))
    )
    assert np.allclose(got, want, rtol=1e-9)


@pytest.mark.parametrize("differ", ["channels", "stride", "eight bits"])
def test_different_convolutions_are_not_joined(differ: str) -> None:
    image = make_tensor(INPUT, Input((4, 8, 8)), [])
    one = Convolution(np.ones((1, 4, 1, 1), np.float32))
    other = {
        "channels": Convolution(np.ones((2, 4, 1, 1), np.float32)),
        "stride": Convolution(np.ones((1, 4, 1, 1), np.float32), stride=2),
        "eight bits": Convolution(np.ones((1, 4, 1, 1), np.int8), scale=np.ones(1, np.float32)),
    }[differ]
    network = Network((image, make_tensor("a", one, [image]), make_tensor("b", other, [image])))
    assert [tensor.name for tensor in join_single_channels(network)] == [INPUT, "a", "b"]


def test_a_missing_bias_is_zero() -> None:
    image = make_tensor(INPUT, Input((2, 2, 2)), [])
    a = make_tensor("a", Convolution(np.full((1, 2, 1, 1), 2, np.float32), np.full(1, 5, np.float32)), [image])
    b = make_tensor("b", Convolution(np.full((1, 2, 1, 1), 3, np.float32)), [image])
    network = Network((image, a, b, make_tensor("product", Multiply(), [a, b])))
    *_, (_, got) = Reference(np.ones((1, 2, 2, 2))).lower(join_single_channels(network))
    assert np.allclose(got, (2 * 2 + 5) * (3 * 2))

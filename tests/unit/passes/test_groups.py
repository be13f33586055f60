"""Convolutions with groups and dilation go through every pass."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.ir.network import INPUT, OUTPUT, Network, Tensor, make_tensor
from fastrt.ir.ops import (
    Add,
    Convolution,
    Input,
    Multiply,
    Operation,
    QuantizeDequantize,
    ReduceMean,
    Relu,
    Reshape,
    ScaleShift,
    Sigmoid,
    Slice,
)
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.passes.non_local import join_single_channels
from fastrt.passes.outside import take_bytes
from fastrt.passes.quantize import LEVELS, Placement, list_layers, list_sites, quantize, quantize_weights
from fastrt.passes.slices import list_parts, split_before_slices
from fastrt.targets.reference import HalfSumsReference, Reference
from fastrt.targets.reference.network_file import read_network, write_network

RNG = np.random.default_rng(3)
PAIRS = Placement(unsigned=True, signed="int8", both_sides=False, pairs_in_int16=True, bias_in_int32=False)
BATCH = RNG.normal(0, 1, (2, 16, 9, 7)).astype(np.float32)


def _floats(*shape: int) -> Array:
    return RNG.normal(0, 1, shape).astype(np.float32)


def _chain(*operations: Operation, shape: tuple[int, ...] = (16, 9, 7)) -> Network:
    tensors = [make_tensor(INPUT, Input(shape), [])]
    for i, operation in enumerate(operations):
        tensors.append(make_tensor(f"t{i}", operation, tensors[-1:]))
    return _finish(tensors)


def _finish(tensors: list[Tensor]) -> Network:
    last = tensors[-1]
    return Network((*tensors, make_tensor(OUTPUT, Reshape((int(np.prod(last.shape)),)), [last])))


def _compute(network: Network, batch: Array = BATCH) -> Array:
    *_, (_, embeddings) = Reference(batch).lower(network)
    return np.asarray(embeddings)


GROUPED = Convolution(_floats(8, 4, 3, 3), _floats(8), 1, 2, groups=4, dilation=2)
GROUPED_MEAN = Convolution(_floats(8, 4, 1, 1), groups=4)
DEPTHWISE = Convolution(_floats(16, 1, 3, 3), _floats(16), 1, 1, groups=16)


def test_a_group_reads_its_own_channels() -> None:
    apart = []
    for group in range(4):
        rows = slice(2 * group, 2 * group + 2)
        assert GROUPED.bias is not None
        one = Convolution(GROUPED.weight[rows], GROUPED.bias[rows], 1, 2, dilation=2)
        batch = BATCH[:, 4 * group : 4 * group + 4]
        apart.append(_compute(_chain(one, shape=batch.shape[1:]), batch).reshape(2, 2, 9, 7))
    together = _compute(_chain(GROUPED)).reshape(2, 8, 9, 7)
    np.testing.assert_allclose(together, np.concatenate(apart, 1), rtol=1e-12)


def test_a_dilated_kernel_equals_a_kernel_with_zeros() -> None:
    spread = np.zeros((8, 4, 5, 5), np.float32)
    spread[:, :, ::2, ::2] = GROUPED.weight
    same = Convolution(spread, GROUPED.bias, 1, 2, groups=4)
    np.testing.assert_allclose(_compute(_chain(GROUPED)), _compute(_chain(same)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("groups", "dilation"), [(3, 1), (0, 1), (4, 0)])
def test_groups_that_do_not_divide_the_channels_are_refused(groups: int, dilation: int) -> None:
    with pytest.raises(fastrt.NetworkError, match="expected groups that divide the channels"):
        _chain(Convolution(_floats(8, 4, 3, 3), groups=groups, dilation=dilation))


def test_groups_of_other_channels_are_refused() -> None:
    with pytest.raises(fastrt.NetworkError, match="convolution of a feature map of shape .*; expected 8 channels"):
        _chain(Convolution(_floats(8, 4, 3, 3), groups=2))


@pytest.mark.parametrize("operation", [GROUPED, DEPTHWISE])
def test_scales_fold(operation: Convolution) -> None:
    channels = len(operation.weight)
    network = _chain(operation, ScaleShift(RNG.normal(1, 1, channels), RNG.normal(0, 1, channels)))
    folded = fold_scales(network)
    assert len(folded) == len(network) - 1
    np.testing.assert_allclose(_compute(folded), _compute(network), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "operations",
    [
        [Convolution(_floats(16, 16, 1, 1)), GROUPED, Slice(0, 0, 3)],  # the slice ends inside a group
        [GROUPED, Relu(), Slice(0, 0, 2)],  # the slice would remain before the groups
        [Convolution(_floats(16, 16, 1, 1)), ReduceMean(), GROUPED_MEAN, Slice(0, 0, 2)],
    ],
)
def test_slices_that_would_remain_do_not_split_groups(operations: list[Operation]) -> None:
    network = _chain(*operations)
    assert str(split_before_slices(network)) == str(network)


def _split_attention() -> Network:
    """A convolution, and one of 4 groups after its Q/DQ pair, read in halves."""
    tensors = [make_tensor(INPUT, Input((16, 9, 7)), [])]
    pair = QuantizeDequantize(0.02, 0, "int8")
    for operation in (Convolution(_floats(16, 16, 3, 3), _floats(16), 1, 1), Relu(), pair, GROUPED, Sigmoid()):
        tensors.append(make_tensor(f"t{len(tensors)}", operation, tensors[-1:]))
    u0, u1 = (make_tensor(f"u{i}", Slice(0, 4 * i, 4 * i + 4), tensors[-1:]) for i in (0, 1))
    return _finish([*tensors, u0, u1, make_tensor("sum", Add(), [u0, u1])])


def test_slices_of_whole_groups_split_the_convolutions_before() -> None:
    network = _split_attention()
    split = split_before_slices(network)
    assert [(tensor.name, tensor.operation.kind, tensor.shape[0]) for tensor in split][1:6] == [
        ("t1.part0", "convolution", 8),
        ("t2.part0", "relu", 8),
        ("t3.part0", "quantize_dequantize", 8),
        ("t4.part0", "convolution", 4),
        ("u0", "sigmoid", 4),
    ]
    assert split["t4.part1"].operation.attributes()["groups"] == 2
    assert len(split) == 2 * 5 + 3
    assert np.array_equal(_compute(split), _compute(network))
    assert list_parts(network) == {
        f"t{link}.part{part}" if link < 5 else f"u{part}": f"t{link}" for link in range(1, 6) for part in (0, 1)
    }


def test_a_map_that_others_read_is_not_split() -> None:
    *tensors, total, _ = _split_attention().tensors
    other = make_tensor("other", Relu(), [tensors[2]])
    network = _finish([*tensors, total, other, make_tensor("mean", ReduceMean(), [other])])
    assert str(split_before_slices(network)) == str(network)


def test_a_split_keeps_the_dilation() -> None:
    network = _chain(Convolution(_floats(8, 16, 3, 3), None, 1, 2, dilation=2), Slice(0, 0, 3))
    split = split_before_slices(network)
    assert len(split) == len(network) - 1
    np.testing.assert_allclose(_compute(split), _compute(network), rtol=1e-12)


def test_single_channels_of_another_dilation_are_not_joined() -> None:
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    one, two, three = (
        make_tensor(f"c{i}", Convolution(_floats(1, 16, 3, 3), None, 1, 2, dilation=dilation), [image])
        for i, dilation in enumerate((2, 2, 2))
    )
    other = make_tensor("other", Convolution(_floats(1, 16, 3, 3), None, 1, 2, dilation=1), [image])
    mean = make_tensor("mean", ReduceMean(), [other])
    tensors = [image, one, two, three, other, mean]
    for tensor in (two, three, mean):
        tensors.append(make_tensor(f"{tensor.name}.sum", Add(), [tensors[-1] if tensor is not two else one, tensor]))
    network = _finish(tensors)
    joined = join_single_channels(network)
    assert [t.name for t in joined if isinstance(t.operation, Convolution)] == ["c0.joined", "other"]
    np.testing.assert_allclose(_compute(joined), _compute(network), rtol=1e-12)


def test_the_input_stage_refuses_groups() -> None:
    network = _chain(
        ScaleShift(np.ones(3), np.zeros(3)), Convolution(_floats(3, 1, 3, 3), None, 1, 1, groups=3), shape=(3, 9, 7)
    )
    with pytest.raises(fastrt.NetworkError, match="t1: a convolution of pixels in 3 groups; expected one without"):
        take_bytes(network)


def test_the_input_stage_accepts_a_dilated_convolution() -> None:
    network = _chain(
        ScaleShift(np.arange(1, 4), np.arange(3)), Convolution(_floats(4, 3, 3, 3), None, 1, 2, dilation=2),
        shape=(3, 9, 7),
    )  # fmt: skip
    images = RNG.integers(0, 256, (2, 9, 7, 3)).astype(np.uint8)
    want = _compute(network, images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_allclose(_compute(take_bytes(network), images), want, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("operation", [GROUPED, DEPTHWISE])
def test_means_are_within_a_group(operation: Convolution) -> None:
    """The convolution of a constant map has no mean error from weight rounding."""
    mean = RNG.normal(0, 1, 16)
    quantized = quantize_weights(operation, mean, 0.1, PAIRS)
    constant = np.broadcast_to(mean[None, :, None, None], (1, 16, 15, 15))
    got, want = (
        _compute(_chain(one, shape=(16, 15, 15)), constant).reshape(1, len(one.weight), 15, 15)[..., 7, 7]
        for one in (quantized, operation)
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("inputs", "groups"), [(4, 4), (2, 8), (3, 4), (1, 8), (1, 16)])
def test_weights_whose_products_are_added_in_16_bits_are_limited(inputs: int, groups: int) -> None:
    """Two weights of 1, at all distances in a filter; see the table of pairs in ADR 14."""
    taps = inputs * 9
    places = [(a, b) for a in range(taps) for b in range(a)]
    places += [places[-1]] * (-len(places) % 16)  # 16 outputs
    got = set()
    for start in range(0, len(places), 16):
        weight = np.zeros((16, taps), np.float32)
        for row, pair in zip(weight, places[start : start + 16], strict=True):
            row[list(pair)] = 1
        operation = Convolution(weight.reshape(16, inputs, 3, 3), None, 1, 1, groups=groups)
        largest = quantize_weights(operation, None, 0.1, PAIRS).weight.max((1, 2, 3))
        got |= {pair for pair, value in zip(places[start : start + 16], largest, strict=True) if value < LEVELS}
    assert got == _list_neighbours(np.arange(taps).reshape(inputs, 3, 3), depthwise=groups == 16)


def _list_neighbours(filters: Array, *, depthwise: bool) -> set[tuple[int, int]]:
    """List the numbers in ``filters`` ``(inputs, rows, columns)`` whose products are added, the larger one first."""
    if depthwise:
        return set()
    if len(filters) % 2 == 0:
        firsts, seconds = filters[::2], filters[1::2]
    else:
        by_rows, reversed_by_rows = filters.transpose(1, 2, 0), filters[::-1].transpose(1, 2, 0)
        by_columns = filters.transpose(2, 1, 0)
        orders = np.stack([by_rows.ravel(), (by_columns if len(filters) == 1 else reversed_by_rows).ravel()])
        firsts, seconds = orders[:, :-1], orders[:, 1:]
    pairs = np.stack([firsts.ravel(), seconds.ravel()], 1).tolist()
    return {(max(pair), min(pair)) for pair in pairs}


def test_a_network_with_groups_is_quantized() -> None:
    network = _chain(DEPTHWISE, GROUPED, Relu())
    ranges = dict.fromkeys(list_sites(network), SimpleNamespace(low=-8.0, high=8.0, amax=8.0, saturated=0))
    means = {INPUT: np.zeros(16), "t0": np.zeros(16)}
    quantized = quantize(network, ranges, PAIRS, means=means)
    int8 = [t.operation for t in quantized if isinstance(t.operation, Convolution) and t.operation.scale is not None]
    assert [operation.groups for operation in int8] == [16, 4]
    want = _compute(network)
    assert np.abs(_compute(quantized) - want).mean() < 0.1 * np.abs(want).mean()
    with pytest.raises(fastrt.CalibrationError, match="has 4 means of t0; expected one for each of its 16 channels"):
        quantize(network, ranges, PAIRS, means={"t0": np.zeros(4)})


@pytest.mark.parametrize("operation", [GROUPED, DEPTHWISE])
def test_fp16_sums_are_within_a_group(operation: Convolution) -> None:
    network = _chain(operation)
    *_, (_, got) = HalfSumsReference(BATCH).lower(compute_in_half(network, "float16"))
    np.testing.assert_allclose(got, _compute(network), atol=0.05)


def test_files_store_groups_if_there_are_any(tmp_path: Path) -> None:
    network = _chain(DEPTHWISE, GROUPED, Convolution(_floats(2, 8, 1, 1)))
    path = tmp_path / "network.npz"
    write_network(network, path, "")
    assert read_network(path).fingerprint() == network.fingerprint()
    with zipfile.ZipFile(path) as file:
        lines = json.loads(np.load(io.BytesIO(file.read("network.npy"))).tobytes())
    assert [("@groups" in line, "@dilation" in line) for line in lines[1:4]] == [
        (True, False), (True, True), (False, False),
    ]  # fmt: skip


def test_files_store_marks(tmp_path: Path) -> None:
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    network = _finish([image, make_tensor("relu", Relu(), [image], exact=True)])
    path = tmp_path / "network.npz"
    write_network(network, path, "")
    assert [tensor.exact for tensor in read_network(path)] == [False, True, False]


def test_a_convolution_next_to_an_exact_tensor_is_not_quantized() -> None:
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    for exact in (False, True):
        convolution = make_tensor("conv", GROUPED, [image])
        relu = make_tensor("relu", Relu(), [convolution], exact=exact)
        assert list_layers(_finish([image, convolution, relu])) == ([] if exact else ["conv"])


def test_products_of_groups_are_scaled_down_for_fp16() -> None:
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    one, two = (make_tensor(name, DEPTHWISE, [image]) for name in ("one", "two"))
    mean = make_tensor("mean", ReduceMean(), [make_tensor("product", Multiply(), [one, two])])
    product = make_tensor("product", Multiply(), [one, two])
    again = make_tensor("again", Multiply(), [image, mean])
    last = make_tensor("last", GROUPED, [again])
    network = _finish([image, one, two, product, mean, again, last])
    *_, (_, got) = Reference(BATCH).lower(compute_in_half(network, "float16"))
    np.testing.assert_allclose(got, _compute(network), atol=0.2)

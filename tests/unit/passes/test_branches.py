"""Convolutions of one input that are only summed become one convolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.ir.network import INPUT, OUTPUT, Network, Tensor, make_tensor
from fastrt.ir.ops import Add, Convolution, Input, Operation, Relu, Reshape, ScaleShift
from fastrt.passes import simplify
from fastrt.passes.branches import merge_branches
from fastrt.targets.reference import Reference

RNG = np.random.default_rng(5)
BATCH = RNG.normal(0, 1, (2, 16, 9, 7)).astype(np.float32)


def _draw(*shape: int) -> Array:
    return RNG.normal(0, 1, shape).astype(np.float32)


def _scale() -> ScaleShift:
    return ScaleShift(RNG.normal(1, 1, 16), RNG.normal(0, 1, 16))


def _sum(*operations: Operation, exact: str | None = None) -> Network:
    """Sum the operations' outputs of one input, two at a time; then a ReLU."""
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    branches = [make_tensor(f"branch{i}", op, [image], exact=f"branch{i}" == exact) for i, op in enumerate(operations)]
    tensors, total = [image, *branches], branches[0]
    for i, branch in enumerate(branches[1:]):
        total = make_tensor(f"sum{i}", Add(), [total, branch], exact=f"sum{i}" == exact)
        tensors.append(total)
    return _finish([*tensors, make_tensor("relu", Relu(), [total])])


def _finish(tensors: list[Tensor]) -> Network:
    last = tensors[-1]
    return Network((*tensors, make_tensor(OUTPUT, Reshape((int(np.prod(last.shape)),)), [last])))


def _compute(network: Network) -> Array:
    *_, (_, embeddings) = Reference(BATCH).lower(network)
    return np.asarray(embeddings)


WIDE = Convolution(_draw(16, 16, 3, 3), _draw(16), padding=1)
POINT = Convolution(_draw(16, 16, 1, 1))
MERGED: dict[str, tuple[Operation, ...]] = {
    "a block of RepVGG": (WIDE, POINT, _scale()),
    "the input first": (_scale(), POINT, WIDE),
    "a smaller sum first": (POINT, POINT, WIDE),
    "no convolution wider than a pixel": (POINT, _scale()),
    "no bias": (POINT, replace(POINT, weight=_draw(16, 16, 1, 1))),
    "stride 2": (replace(WIDE, stride=2), replace(POINT, stride=(2, 2))),
    "another number of channels": (Convolution(_draw(8, 16, 3, 3), padding=1), Convolution(_draw(8, 16, 1, 1))),
    "dilation": (replace(WIDE, dilation=2, padding=2), POINT, replace(WIDE, dilation=2, padding=2)),
    "dilated taps": (replace(WIDE, dilation=2, padding=2), Convolution(_draw(16, 16, 5, 5), padding=4, dilation=2)),
    "a window without centre": (Convolution(_draw(4, 16, 4, 4), padding=2), Convolution(_draw(4, 16, 2, 2), padding=1)),
    **{
        f"{groups} groups": (
            Convolution(_draw(16, 16 // groups, 3, 3), _draw(16), padding=1, groups=groups),
            Convolution(_draw(16, 16 // groups, 1, 1), groups=groups),
            _scale(),
        )
        for groups in (2, 4, 16)
    },
}


@pytest.mark.parametrize("name", MERGED)
def test_one_convolution_computes_the_sum(name: str) -> None:
    network = _sum(*MERGED[name])
    merged = merge_branches(network)
    assert [tensor.operation.kind for tensor in merged] == ["input", "convolution", "relu", "reshape"]
    assert merged.tensors[1].name == f"sum{len(MERGED[name]) - 2}"
    assert {array.dtype for array in merged.tensors[1].operation.arrays().values()} == {np.dtype(np.float32)}
    want = _compute(network)
    np.testing.assert_allclose(_compute(merged), want, rtol=0, atol=3e-7 * np.abs(want).max())


KEPT: dict[str, tuple[Operation, ...]] = {
    "another stride of columns": (
        Convolution(_draw(4, 16, 7, 7), None, (1, 2)), Convolution(_draw(4, 16, 7, 7), None, 1),
    ),
    "other groups": (WIDE, Convolution(_draw(16, 8, 1, 1), groups=2)),
    "taps between taps": (WIDE, replace(WIDE, dilation=2, padding=2)),
    "windows of one size at other places": (
        Convolution(_draw(4, 16, 3, 3), None, 8, 1), Convolution(_draw(4, 16, 3, 3), None, 8, 0),
    ),
    "channels that broadcast": (POINT, Convolution(_draw(1, 16, 1, 1))),
    "int8": (
        WIDE, Convolution(np.ones((16, 16, 1, 1), np.int8), scale=np.ones(16, np.float32)),
    ),
    "scales only": (_scale(), _scale()),
    "other operations": (WIDE, Relu()),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_other_sums_stay(name: str) -> None:
    network = _sum(*KEPT[name])
    assert merge_branches(network).fingerprint() == network.fingerprint()


@pytest.mark.parametrize("exact", ["branch0", "branch1", "sum0"])
def test_exact_tensors_stay(exact: str) -> None:
    network = _sum(WIDE, POINT, exact=exact)
    assert merge_branches(network).fingerprint() == network.fingerprint()


def test_a_scale_for_each_row_stays() -> None:
    network = _sum(WIDE, ScaleShift(RNG.normal(1, 1, (16, 9)), RNG.normal(0, 1, (16, 9))))
    assert merge_branches(network).fingerprint() == network.fingerprint()


def test_a_branch_with_another_reader_stays() -> None:
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    wide, point = make_tensor("wide", WIDE, [image]), make_tensor("point", POINT, [image])
    total = make_tensor("sum", Add(), [wide, point])
    again = make_tensor("again", Add(), [total, point])
    twice = make_tensor("twice", Add(), [again, again])
    network = _finish([image, wide, point, total, again, twice])
    assert merge_branches(network).fingerprint() == network.fingerprint()


def test_a_residual_block_stays() -> None:
    """A shortcut, plain or projected, reads another input than the last convolution of the branch."""
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    first = make_tensor("first", WIDE, [image])
    relu = make_tensor("relu", Relu(), [first])
    second = make_tensor("second", WIDE, [relu])
    projected = make_tensor("projected", POINT, [image])
    one = make_tensor("one", Add(), [second, projected])
    last = make_tensor("last", WIDE, [one])
    network = _finish([image, first, relu, second, projected, one, last, make_tensor("two", Add(), [last, one])])
    assert merge_branches(network).fingerprint() == network.fingerprint()


def test_norms_fold_before_branches_merge() -> None:
    image = make_tensor(INPUT, Input((16, 9, 7)), [])
    convolutions = [make_tensor("wide", WIDE, [image]), make_tensor("point", POINT, [image])]
    norms = [make_tensor(f"{tensor.name}.bn", _scale(), [tensor]) for tensor in convolutions]
    network = _finish([image, *convolutions, *norms, make_tensor("sum", Add(), norms)])
    simplified = simplify(network)
    assert [tensor.name for tensor in simplified] == [INPUT, "sum", OUTPUT]
    want = _compute(network)
    np.testing.assert_allclose(_compute(simplified), want, rtol=0, atol=1e-6 * np.abs(want).max())

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastrt.arrays import Array
from fastrt.engine.calibration_table import Method
from fastrt.quantization.methods import METHODS, entropy, minmax, mse, percentile


def _counts(values: Array, width: float) -> Array:
    return np.bincount((np.abs(values) / width).astype(int), minlength=2048)[:2048]


@pytest.mark.parametrize("name", METHODS)
def test_no_method_reaches_beyond_the_largest_value(name: Method) -> None:
    values = np.random.default_rng(0).normal(0, 1, 100_000)
    width = np.abs(values).max() / 2047
    amax = METHODS[name](_counts(values, width), width)
    assert 0 < amax <= np.abs(values).max() + width


@pytest.mark.parametrize("name", METHODS)
def test_dead_tensors_and_few_bins_are_no_trouble(name: Method) -> None:
    find = METHODS[name]
    assert find(np.zeros(2048, np.int64), 0.1) in (0.0, 0.1)
    assert find(np.array([5, *[0] * 2047]), 0.1) == pytest.approx(0.1)
    assert find(np.array([5, 0, 7, *[0] * 2045]), 0.1) == pytest.approx(0.3)


@pytest.mark.parametrize("name", METHODS)
def test_values_that_are_all_alike_are_kept(name: Method) -> None:
    counts = np.zeros(2048, np.int64)
    counts[2000] = 9
    assert METHODS[name](counts, 0.1) == pytest.approx(200.1, rel=1e-2)


def test_entropy_loses_the_least_of_all_ends() -> None:
    """By the definition, from the distributions of each end."""
    counts = _counts(np.maximum(np.random.default_rng(3).laplace(-0.2, 1, 50_000), 0), 0.01)
    steps = 128

    def divergence(end: int) -> float:
        kept = counts[:end].astype(float)
        kept[0] = kept[1]
        true, rounded = kept.copy(), np.zeros(end)
        true[np.flatnonzero(kept)[-1]] += counts[end:].sum()
        borders = [step * end // steps for step in range(steps + 1)]
        for low, high in itertools.pairwise(borders):
            some = kept[low:high] > 0
            rounded[low:high][some] = kept[low:high].sum() / max(some.sum(), 1)
        some = kept > 0
        p, q = true[some] / true.sum(), rounded[some] / rounded.sum()
        return float((p * np.log(p / q)).sum())

    ends = range(steps, int(np.flatnonzero(counts)[-1]) + 2)
    assert entropy(counts, 1.0) == min(ends, key=divergence)


def test_one_stray_value_is_cut_off_by_all_but_minmax() -> None:
    values = np.append(np.abs(np.random.default_rng(1).normal(0, 1, 200_000)), 100.0)
    width = 100.0 / 2047
    counts = _counts(values, width)
    assert minmax(counts, width) == pytest.approx(100, rel=1e-2)
    assert percentile(counts, width) < 6
    assert mse(counts, width) < 60
    assert entropy(counts, width) < 20


def test_mse_is_the_best_of_all_ends() -> None:
    values = np.random.default_rng(2).laplace(0, 1, 50_000)
    width = np.abs(values).max() / 2047
    best = mse(_counts(values, width), width)

    def error(amax: float) -> float:
        scale = amax / 127
        return float(((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2).mean())

    assert error(best) <= min(error(end) for end in np.linspace(best / 2, np.abs(values).max(), 60)) * 1.01

"""Weights are real numbers that a network can compute with, and their spec is neither lost nor taken over."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrt
from conftest import Run, Small
from fastrt.testing.untrained import draw_weights

KERNEL, VARIANCE = "backbone.layer1.0.conv1.weight", "backbone.layer1.0.bn2.running_var"


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
@pytest.mark.parametrize("name", [KERNEL, VARIANCE, "heads.pool_layer.p"])
def test_integers_are_not_taken_for_real_values(name: str, dtype: Any, small: Small) -> None:
    arrays = {**small.arrays, name: np.abs(100 * small.arrays[name]).astype(dtype)}
    with pytest.raises(fastrt.WeightsError, match=rf"1 unusable, first {name} is {np.dtype(dtype)}, expected real"):
        fastrt.build_network(fastrt.load_spec(small.config), arrays)


def test_integers_that_no_layer_reads_are_allowed(small: Small) -> None:
    counter = {"backbone.bn1.num_batches_tracked": np.array(9, np.int64)}
    network = fastrt.build_network(fastrt.load_spec(small.config), {**small.arrays, **counter})
    assert network.fingerprint() == small.network.fingerprint()


def _with_variance(small: Small, value: float) -> fastrt.Network:
    variance = small.arrays[VARIANCE].copy()
    variance[3] = value
    return fastrt.build_network(fastrt.load_spec(small.config), {**small.arrays, VARIANCE: variance})


@pytest.mark.parametrize("value", [-1, -1e-4, -1e-5, -9.9999e-6])
def test_a_variance_that_rounding_has_spoilt_is_refused(value: float, small: Small) -> None:
    with pytest.raises(
        fastrt.WeightsError, match=rf"{VARIANCE}: a variance of -.*; expected at least 0, or -9\.99e-06"
    ):
        _with_variance(small, value)


@pytest.mark.parametrize("value", [0, 1e-20, -5e-6, -9.9e-6])  # of a FrozenBN
def test_small_variances_are_allowed(value: float, small: Small) -> None:
    _with_variance(small, value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_config_does_not_hide_the_spec_of_a_checkpoint(
    suffix: str, small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = fastrt.load_spec(small.config, ["MODEL.BACKBONE.LAST_STRIDE", 2, "maxpool", "pad1"])
    fastrt.save_weights(small.arrays, tmp_path / f"m{suffix}", spec=spec)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fastrt"):
        model = fastrt.load_model(tmp_path / f"m{suffix}", small.config)
        model.network()
    assert (model.spec.backbone.maxpool, model.spec.backbone.last_stride) == ("pad1", 1)  # type: ignore[attr-defined]
    assert "backbone.last_stride is 1 by the config and 2 by the spec in m." in caplog.text
    assert "backbone.maxpool is pad1, by the spec in m." in caplog.text
    assert "assumed" not in caplog.text
    fastrt.save_weights(small.arrays, tmp_path / "n.safetensors", spec=fastrt.load_spec(small.config))
    assert fastrt.load_model(tmp_path / "n.safetensors", small.config).notes == ()


def test_the_spec_of_another_checkpoint_is_not_taken_over(small: Small, tmp_path: Path, run: Run) -> None:
    spec = fastrt.load_spec(small.config)
    fastrt.save_weights(small.arrays, tmp_path / "run.pth", spec=spec)
    for seed in (1, 2):
        fastrt.save_weights(draw_weights(spec, seed=seed), tmp_path / f"{seed}.safetensors", spec=spec)
    before = (tmp_path / "run.yml").read_bytes()
    refused = run("convert", tmp_path / "1.safetensors", tmp_path / "run.wts")
    assert refused.code == 2
    assert "run.yml: exists, and is the spec of run.pth, which has other weights; expected a free name" in refused.err
    assert (tmp_path / "run.yml").read_bytes() == before
    assert not (tmp_path / "run.wts").exists()
    assert run("convert", tmp_path / "run.pth", tmp_path / "run.wts").code == 0  # the same weights
    for seed in (1, 2):  # of older weights of the same file
        assert run("convert", tmp_path / f"{seed}.safetensors", tmp_path / "new.pth").code == 0
    assert fastrt.load_model(tmp_path / "new.pth").network()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".wts"])
def test_names_that_no_text_can_hold_are_refused(suffix: str, small: Small, tmp_path: Path) -> None:
    with pytest.raises(fastrt.WeightsError, match=r"the name 'a\\udcff' of an array; expected a Unicode string"):
        fastrt.save_weights({**small.arrays, "a\udcff": np.zeros(1, np.float32)}, tmp_path / f"m{suffix}")
    assert not list(tmp_path.iterdir())


def test_an_image_size_beyond_the_memory_is_refused(small: Small) -> None:
    for size in ([8192, 8192], [4096, 2048]):
        with pytest.raises(fastrt.NetworkError, match=r"image size .*MB per image; expected at most 268 MB. Reduce"):
            fastrt.build_network(fastrt.load_spec(small.config, ["INPUT.SIZE_TEST", size]), small.arrays)

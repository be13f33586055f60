"""Parts of plans that need no TensorRT: the description, and the builder's configuration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fastrt
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.tensorrt.capabilities import Capabilities
from fastrt.targets.tensorrt.plan import MARK, configure, find_description, profile_ranges

INFO = EngineInfo(
    target="tensorrt",
    built_with="tensorrt 10.3.0",
    precision="fp16",
    io="u8_nhwc_bgr",
    image_size=(256, 128),
    embedding_dim=512,
    device="NVIDIA H100 80GB HBM3, sm90",
    batches=(1, 8),
    spec={"depth": '50x}{"', "nested": {"a": [1, 2]}},
)


def _plan(text: str) -> bytes:
    return b"ftrt\0\1\2" + bytes(range(256)) + (MARK + text).encode() + b"\0\xff\xfe{}" + bytes(range(256))


def test_a_description_is_found_among_bytes(tmp_path: Path) -> None:
    path = tmp_path / "r50.engine"
    path.write_bytes(_plan(INFO.to_text()))
    assert fastrt.describe(path) == INFO


@pytest.mark.parametrize("text", ["", '{"format"', '{"format":1', "{" * 100_000, '{"format":' + "[" * 60_000])
def test_other_bytes_are_no_description(text: str) -> None:
    assert find_description(_plan(text)) is None


@pytest.mark.parametrize("text", ['{"format":2}', '{"format":1}', '{"format":1,"batches":[0]}'])
def test_an_invalid_description_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r50.engine"
    path.write_bytes(_plan(text))
    with pytest.raises(fastrt.EngineError, match="this fastrt cannot read its description"):
        fastrt.describe(path)


def test_a_plan_requires_a_gpu(tmp_path: Path) -> None:
    path = tmp_path / "r50.engine"
    path.write_bytes(_plan(INFO.to_text()))
    with pytest.raises(fastrt.TargetError, match="tensorrt: device cpu; expected cuda:0"):
        fastrt.load(path, "cpu")


@pytest.mark.parametrize(
    ("quantized", "expected"),
    [(True, {"FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"}), (False, {"FP16", "OBEY_PRECISION_CONSTRAINTS"})],
)
def test_tensorrt_8_gets_the_int8_flag_only_with_int8_layers(quantized: bool, expected: set[str]) -> None:
    """If all convolutions are excluded from int8, TensorRT 8 would look for missing scales."""
    names = {"FP16", "INT8", "TF32", "PREFER_PRECISION_CONSTRAINTS", "OBEY_PRECISION_CONSTRAINTS"}
    flags: set[str] = set()
    config = SimpleNamespace(set_memory_pool_limit=lambda *_: None, set_flag=flags.add, clear_flag=flags.discard)
    trt: Any = SimpleNamespace(
        BuilderFlag=SimpleNamespace(**{name: name for name in names}),
        MemoryPoolType=SimpleNamespace(WORKSPACE=0),
        ProfilingVerbosity=SimpleNamespace(DETAILED=0),
        TacticSource=SimpleNamespace(),
        NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0),
    )
    builder: Any = SimpleNamespace(create_builder_config=lambda: config)
    info = INFO.model_copy(update={"precision": "int8"})
    configure(Capabilities(trt, "tensorrt"), builder, info, BuildOptions(), bound=True, quantized=quantized)
    assert flags == expected


def test_ranges_of_batches() -> None:
    assert profile_ranges((4,)) == [(1, 4, 4)]
    assert profile_ranges((1, 4, 32, 128)) == [(1, 1, 1), (2, 4, 4), (5, 32, 32), (33, 128, 128)]

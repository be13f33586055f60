"""`fastrt doctor` tells what a host can compute, also if a runtime on it is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fastrt
from conftest import Run, Small
from fastrt.doctor import diagnosis
from fastrt.doctor.diagnosis import list_features
from fastrt.doctor.probe import RUNTIMES
from fastrt.targets.registry import find_target
from fastrt.targets.table import ROWS

CPU_TARGETS = ("openvino", "reference")
BROKEN = {
    "openvino": ("import os; print('hello'); os.abort()", "its process ended with signal SIGABRT: "),
    "onnxruntime": ("raise ImportError('libx.so.1: no such file')", "ImportError: libx.so.1: no such file"),
    "onnx": ("raise SystemExit(0)", "SystemExit: 0"),
    "tensorrt": ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
    "jinja2": ("import time; time.sleep(600)", "no answer within 15 s"),
}


def test_it_shows_the_cpu_the_runtimes_and_what_each_target_computes(run: Run) -> None:
    done = run("doctor", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert set(found) == {"host", "runtimes", "targets"}
    assert found["host"]["cores"] >= 1
    assert set(found["host"]["features"]) == {"AVX2", "AVX-512", "VNNI", "BF16", "FP16", "AMX"}
    assert [runtime["name"] for runtime in found["runtimes"]] == list(RUNTIMES)
    targets = {target["name"]: target for target in found["targets"]}
    assert list(targets) == list(ROWS)
    for name in CPU_TARGETS:
        assert targets[name]["precisions"] == list(find_target(name).precisions())
        assert targets[name]["problem"] is None
    missing = [runtime for runtime in found["runtimes"] if runtime["problem"] is not None]
    assert all(runtime["install"].startswith("pip install ") for runtime in missing)


def test_a_broken_runtime_is_a_row_with_its_reason(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (code, _) in BROKEN.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code)
    monkeypatch.setattr(diagnosis, "TIMEOUT_S", 15.0)
    monkeypatch.syspath_prepend(str(tmp_path))
    done = run("doctor")
    assert done.code == 0, done.err
    lines = {line.split()[0]: line for line in done.out.splitlines() if line[:1].isalpha()}
    text = " ".join(done.out.split())
    for name, (_, reason) in BROKEN.items():
        assert reason in text, name
        assert f"pip install --force-reinstall {name}" in text
    assert "fp32, int8" in lines["reference"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx2", {"AVX2"}),
        ("flags : fpu avx2 avx_vnni", {"AVX2", "VNNI"}),
        (
            "flags : avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8",
            {"AVX2", "AVX-512", "VNNI", "BF16", "FP16", "AMX"},
        ),
        ("Features : fp asimd asimddp asimdhp bf16", {"VNNI", "BF16", "FP16"}),
    ],
)
def test_features_are_those_of_the_operating_system(
    flags: str, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastrt.timing.host._cpuinfo", lambda: ["processor : 0", flags])
    assert {name for name, has in list_features().items() if has} == expected


def test_features_that_nobody_tells_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrt.timing.host._cpuinfo", list)
    assert set(list_features().values()) == {None}


@pytest.mark.parametrize(
    ("name", "has", "isa", "is_fast"),
    [
        ("openvino", {"AVX2", "VNNI"}, None, True),
        ("openvino", {"AVX2"}, None, False),
        ("openvino", {"AVX2", "VNNI"}, "AVX2", False),
        ("onnx", {"AVX2", "VNNI"}, "AVX2", True),
        ("reference", {"AVX2", "VNNI", "AMX"}, None, False),
    ],
)
def test_it_says_where_int8_is_fast(
    name: str, has: set[str], isa: str | None, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if isa is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    features = {feature: feature in has for feature in diagnosis.FEATURES}
    assert diagnosis._rate_int8(name, features)[0] is is_fast


@pytest.mark.parametrize("name", ["ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"])
def test_settings_that_compute_with_fewer_bits_than_the_precision_are_refused(
    name: str, small: Small, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode in ("STRICT", ""):
        monkeypatch.setenv(name, mode)
        fastrt.load(small.engine).close()
    for mode in ("BF16", "any", "tf32"):
        monkeypatch.setenv(name, mode)
        with pytest.raises(fastrt.TargetError, match=f"{name} is {mode}; expected STRICT"):
            fastrt.load(small.engine)
    assert f"{name} is tf32" in run("doctor").out

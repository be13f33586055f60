"""Imports go one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastrt

ROOT = Path(fastrt.__file__).parent
LEVELS = [
    {"errors", "arrays", "files"},
    {"ops"},
    {"network", "parameters"},
    {"builder"},
    {"layers"},
    {"models.resnet", "models.reid", "models"},
]
"""Each may import those before it, and of its own level."""

RUNTIMES = {
    "openvino": "targets.openvino",
    "onnx": "targets.onnx",
    "onnxruntime": "targets.onnx",
    "cuda": "targets.tensorrt.cuda",
}
"""Each runtime, and the one file that imports it; TensorRT is imported by name, in `targets.tensorrt.dialect`."""


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {_module(path): _imports(path) for path in ROOT.rglob("*.py")}


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_the_description_is_built_upwards(level: int) -> None:
    above = set().union(*LEVELS[level + 1 :]) if level + 1 < len(LEVELS) else set()
    for name in LEVELS[level] & set(FILES):
        assert not {f"fastrt.{other}" for other in above} & FILES[name], name


def test_passes_and_targets_see_only_the_description() -> None:
    forbidden = {f"fastrt.{name}" for name in ("builder", "layers", "models", "spec", "weights", "engine", "session")}
    for name, imports in FILES.items():
        if name.startswith(("passes", "targets")):
            assert not forbidden & imports, name


def test_nothing_sees_the_command_line() -> None:
    for name, imports in FILES.items():
        if not name.startswith(("cli", "__main__")):
            assert not any(module.startswith("fastrt.cli") for module in imports), name


def test_each_runtime_is_imported_in_one_file() -> None:
    for runtime, file in RUNTIMES.items():
        users = [name for name, imports in FILES.items() if runtime in {module.split(".")[0] for module in imports}]
        assert users == [file]
    assert not any(module.startswith("tensorrt") for imports in FILES.values() for module in imports)


def test_importing_fastrt_imports_no_runtime() -> None:
    runtimes = {*RUNTIMES, "cv2", "torch", "tensorrt", "tensorrt_rtx_bindings"}
    script = f"import sys, fastrt; print(sorted({runtimes} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

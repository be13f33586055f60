"""Imports go one way: the rooms of the house, from the ground up."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fastrt

ROOT = Path(fastrt.__file__).parent
FLOORS = [
    {"errors", "arrays", "version"},
    {"files", "paths", "similarity", "signatures"},
    {"ir"},
    {"weights", "passes", "images"},
    {"models", "targets"},
    {"testing", "engine"},
    {"timing"},
    {"quantization", "extraction"},
    {"datasets", "building"},
    {"evaluation"},
    {"compat", "demo", "doctor"},
    {""},  # the package itself, which hands names on
    {"cli"},
    {"__main__"},
]
"""A room imports rooms of floors below its own, and itself."""

RUNTIMES = {
    "openvino": "targets.openvino",
    "onnx": "targets.onnx",
    "onnxruntime": "targets.onnx",
    "cuda": "targets.tensorrt.cuda",
    "cv2": "images.preprocess",
}
"""Each runtime, and the one place that imports it. `targets.tensorrt.capabilities` imports TensorRT by name."""


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if _is_module(name) else node.module for name in modules}
    return names


def _is_module(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


FILES = {_module(path): _imports(path) for path in ROOT.rglob("*.py")}
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def test_every_room_stands_in_the_table() -> None:
    assert {name.partition(".")[0] for name in FILES} == set(FLOOR)


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_go_down(name: str) -> None:
    room = name.partition(".")[0]
    for module in FILES[name]:
        package, _, rest = module.partition(".")
        other = rest.partition(".")[0]
        if package == "fastrt" and other != room:
            assert FLOOR[other] < FLOOR[room], f"{name} imports {module}"


def test_models_and_targets_do_not_see_each_other() -> None:
    for name, imports in FILES.items():
        for one, other in (("models", "targets"), ("targets", "models")):
            if name.startswith(one):
                assert not any(module.startswith(f"fastrt.{other}") for module in imports), name


def test_each_runtime_is_imported_in_one_place() -> None:
    for runtime, place in RUNTIMES.items():
        users = [name for name, imports in FILES.items() if runtime in {module.split(".")[0] for module in imports}]
        assert users
        assert all(name == place or name.startswith(f"{place}.") for name in users), users
    assert not any(module.startswith("tensorrt") for imports in FILES.values() for module in imports)


def test_no_module_is_hidden_by_a_function_of_its_name() -> None:
    for name in FILES:
        if name and not name.startswith("__main__"):
            package, _, last = f"fastrt.{name}".rpartition(".")
            module = importlib.import_module(f"{package}.{last}")
            if package == "fastrt":
                assert getattr(importlib.import_module(package), last) is module, name


def test_the_api_is_what_the_package_lists() -> None:
    assert all(hasattr(fastrt, name) for name in fastrt.__all__)
    assert len(set(fastrt.__all__)) == len(fastrt.__all__)
    assert set(dir(fastrt)) == set(fastrt.__all__)


def test_importing_fastrt_imports_no_runtime() -> None:
    runtimes = {*RUNTIMES, "torch", "tensorrt", "tensorrt_rtx_bindings"}
    script = f"import sys, fastrt; print(sorted({runtimes} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

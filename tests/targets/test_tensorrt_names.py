"""The TensorRT target uses only names of every supported TensorRT, or uses them under a condition.

``tensorrt_names`` holds the names of each version, as ``scripts/tensorrt_names.py`` wrote them. The test reads the
target's source and compares names without their classes.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "src/fastrt/targets/tensorrt"
NAMES = Path(__file__).parent / "tensorrt_names"
VERSIONS = {path.stem: frozenset(json.loads(path.read_text("utf-8"))["names"]) for path in sorted(NAMES.glob("*.json"))}
LAST = {version: frozenset(name.rpartition(".")[2] for name in names) for version, names in VERSIONS.items()}

CONDITIONS = {
    "FP16": "only in networks that are not strongly typed, which TensorRT 11 and RTX do not have",
    "OBEY_PRECISION_CONSTRAINTS": "as FP16",
    "PREFER_PRECISION_CONSTRAINTS": "as FP16",
    "precision": "as FP16",
    "set_output_type": "as FP16",
    "EXPLICIT_BATCH": "only without STRONGLY_TYPED",
    "USER_MANAGED": "only with ExecutionContextAllocationStrategy",
    "create_execution_context_without_device_memory": "only without ExecutionContextAllocationStrategy",
    "num_compute_capabilities": "only with ComputeCapability",
    "progress_monitor": "only with IProgressMonitor",
    "set_compute_capability": "only with ComputeCapability",
}
"""Names that some versions lack, each with the condition under which the target uses it."""

OTHERS = {"bfloat16", "dilation", "find", "free", "int64", "major", "min", "minor", "padding", "strides"}
"""Names that some versions lack, used in the target for objects of Python, NumPy, CUDA and fastrt."""


def _find_names(tree: ast.AST) -> set[str]:
    """Find attributes, keywords and strings without a ``hasattr`` or ``getattr`` of the same name in the file."""
    names: set[str] = set()
    guarded: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            names.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
            guarded |= {str(word.value) for word in node.args if isinstance(word, ast.Constant)}
    return names - guarded


def test_names_that_some_versions_lack_are_used_under_a_condition() -> None:
    used = set().union(*(_find_names(ast.parse(path.read_text("utf-8"))) for path in FOLDER.glob("*.py")))
    known, everywhere = frozenset.union(*LAST.values()), frozenset.intersection(*LAST.values())
    assert used & known - everywhere == CONDITIONS.keys() | OTHERS


def test_names_are_not_misspelt() -> None:
    source = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    known = frozenset.union(*VERSIONS.values())
    names = set(re.findall(r"\btrt\.([A-Z]\w+(?:\.[A-Z]\w+)?)", source))
    assert names
    assert names <= known
    methods = {f"INetworkDefinition.{name}" for name in re.findall(r'"(add_\w+)"', source)}
    assert methods
    assert methods <= known


def test_files_are_named_after_their_versions() -> None:
    assert {"8.6.1", "10.0.1", "10.3.0", "10.16.1.11", "11.4.0.106", "rtx-1.7.1.116"} <= set(VERSIONS)
    for path in NAMES.glob("*.json"):
        assert path.stem.removeprefix("rtx-") == json.loads(path.read_text("utf-8"))["version"]

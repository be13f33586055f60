"""The TensorRT target uses names that every TensorRT it may meet has, or asks before it uses them.

``tensorrt_names`` holds what each version has, as ``scripts/tensorrt_names.py`` wrote it. The target's source is read
and not run, for two kinds of use: chains that begin at the module (``trt.DataType.HALF``), and attributes of TensorRT's
objects (``network.add_slice``). An object is known by the call that made it, else by what it is called; of one that is
not known, an attribute is taken for TensorRT's if TensorRT has such an attribute. What is annotated as anything but
``Trt``, ``Any`` or ``object`` is not TensorRT's. Strings that stand for names count too: ``"add_slice"``, ``"HALF"``.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).parents[2] / "src/fastrt/targets/tensorrt"
NAMES = Path(__file__).parent / "tensorrt_names"
VERSIONS = {path.stem: frozenset(json.loads(path.read_text("utf-8"))["names"]) for path in sorted(NAMES.glob("*.json"))}
EVERYWHERE = frozenset.intersection(*VERSIONS.values())
SOMEWHERE = frozenset.union(*VERSIONS.values())

BEFORE_10 = frozenset({"8.6.1"})
SINCE_11 = frozenset({"11.4.0.106", "rtx-1.7.1.116"})
ALL_BUT_RTX = frozenset(VERSIONS) - {"rtx-1.7.1.116"}

WEAK_TYPING = "only of networks that are not strongly typed, which TensorRT 11 and RTX do not have"

GUARDED: dict[str, tuple[frozenset[str], str]] = {
    "BuilderFlag.FP16": (SINCE_11, WEAK_TYPING),
    "BuilderFlag.INT8": (SINCE_11, WEAK_TYPING),
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": (SINCE_11, WEAK_TYPING),
    "BuilderFlag.PREFER_PRECISION_CONSTRAINTS": (SINCE_11, WEAK_TYPING),
    "ILayer.precision": (SINCE_11, WEAK_TYPING),
    "ILayer.set_output_type": (SINCE_11, WEAK_TYPING),
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": (SINCE_11, "only where there is no STRONGLY_TYPED"),
    "IBuilderConfig.progress_monitor": (BEFORE_10, "only where there is an IProgressMonitor"),
    "IBuilderConfig.num_compute_capabilities": (ALL_BUT_RTX, "only where there is a ComputeCapability"),
    "IBuilderConfig.set_compute_capability": (ALL_BUT_RTX, "only where there is a ComputeCapability"),
    "ICudaEngine.create_execution_context_without_device_memory": (
        SINCE_11,
        "only where there is no ExecutionContextAllocationStrategy",
    ),
}
"""Names that some versions lack, used where no ``hasattr`` or ``getattr`` of the same name stands in the same file: who
lacks them, and what keeps the code from them there."""

CALLED = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "definition": "INetworkDefinition",
    "engine": "ICudaEngine",
    "inspector": "EngineInspector",
    "network": "INetworkDefinition",
    "profile": "IOptimizationProfile",
}
"""The class of an object by what it is called, a leading underscore aside. Not ``runtime``, which CUDA has as well."""

MADE = {
    "add_input": "ITensor",
    "create_builder_config": "IBuilderConfig",
    "create_engine_inspector": "EngineInspector",
    "create_execution_context": "IExecutionContext",
    "create_network": "INetworkDefinition",
    "create_optimization_profile": "IOptimizationProfile",
    "deserialize_cuda_engine": "ICudaEngine",
    "get_output": "ITensor",
}
"""The class of an object by the method that made it; those of layers follow from the methods' names."""

LAYERS = {name[1:-5].lower(): name for name in EVERYWHERE if re.fullmatch(r"I\w+Layer", name)}
CLASSES = {"ILayer", "Runtime", *CALLED.values(), *MADE.values(), *LAYERS.values()}

Kind = tuple[str, ...] | str | None
"""What an expression is: a name in the module, which is itself the empty name; an object of a class; `OURS` or
`LITERAL`; or unknown."""

OURS = "ours"
LITERAL = "literal"
"""A list or the like, of which it is not known what is in it."""


class Problem(NamedTuple):
    """A name, where it is used, and the versions that lack it; all of them for a name misspelt."""

    line: int
    name: str
    missing: frozenset[str]


def find_problems(source: str) -> list[Problem]:
    """TensorRT's names that a source uses, some versions lack, and no ``hasattr`` or ``getattr`` in it asks for."""
    tree = ast.parse(source)
    reader = _Reader()
    reader.visit(tree)  # learns what attributes of self are
    reader.problems.clear()
    reader.visit(tree)
    return sorted(problem for problem in reader.problems if problem.name.rpartition(".")[2] not in reader.asked)


class _Reader(ast.NodeVisitor):
    def __init__(self) -> None:
        self.problems: set[Problem] = set()
        self.asked: set[str] = set()
        self._scopes: list[dict[str, Kind]] = [{}]
        self._fields: dict[str, Kind] = {}

    # What things are

    def _kind(self, node: ast.expr) -> Kind:
        if isinstance(node, ast.Name):
            known = next((scope[node.id] for scope in reversed(self._scopes) if node.id in scope), None)
            return _kind_by_name(node.id) if known is None else known
        if isinstance(node, ast.Attribute):
            return self._kind_of_attribute(node.value, node.attr)
        if isinstance(node, ast.Call):
            return self._kind_of_call(node)
        if isinstance(node, ast.Subscript):
            return OURS if self._kind(node.value) == OURS else None
        if isinstance(node, ast.Constant):
            return None if node.value is None else OURS
        literals = (ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
        return LITERAL if isinstance(node, literals) else None

    def _kind_of_attribute(self, value: ast.expr, name: str) -> Kind:
        kind = self._kind(value)
        if isinstance(kind, tuple):
            return (*kind, name)
        known = self._fields.get(name) if _is_self(value) else None
        known = _kind_by_name(name) if known is None else known
        return OURS if known is None and kind == OURS else known

    def _kind_of_call(self, node: ast.Call) -> Kind:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = "".join(map(_text, node.args[:1]))
        if name == "getattr" and (text := "".join(map(_text, node.args[1:2]))):
            return self._kind_of_attribute(node.args[0], text)
        made = first if first.startswith("add_") else name  # helpers may take the name of the method
        layer = LAYERS.get(re.sub(r"^add|_nd$|_v\d$|_", "", made)) if made.startswith("add_") else None
        if made in MADE or layer:
            return MADE.get(made, layer)
        kind = self._kind(node.func)
        if isinstance(kind, tuple):
            return kind[-1] if kind else None
        return OURS if kind == OURS and name[:1].isupper() else None

    def _kind_by_annotation(self, node: ast.expr) -> Kind:
        words = set(re.findall(r"\w+", ast.unparse(node)))
        if words & {"Trt", "Any", "object"}:
            return None
        kind = self._kind(node)
        return kind[-1] if isinstance(kind, tuple) and kind else OURS

    def _bind(self, target: ast.expr, kind: Kind) -> None:
        if isinstance(target, ast.Name):
            self._scopes[-1][target.id] = kind
        elif isinstance(target, ast.Attribute) and _is_self(target.value) and kind is not None:
            self._fields[target.attr] = kind
        elif isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                self._bind(element, OURS if kind == OURS else None)

    # What is bound

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                self._fields[statement.target.id] = self._kind_by_annotation(statement.annotation)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        every = ast.walk(node.args)
        parameters = [argument for argument in every if isinstance(argument, ast.arg)]
        kinds = {a.arg: self._kind_by_annotation(a.annotation) if a.annotation else None for a in parameters}
        self._scopes.append(kinds)
        self.generic_visit(node)
        self._scopes.pop()

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if not alias.name.startswith("tensorrt"):
                self._scopes[-1][alias.asname or alias.name.partition(".")[0]] = OURS

    visit_ImportFrom = visit_Import  # noqa: N815 - what ast calls it

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._bind(target, None if isinstance(target, ast.Tuple) else self._kind(node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self._bind(node.target, self._kind_by_annotation(node.annotation))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._bind(node.target, self._kind(node.value))

    def visit_For(self, node: ast.For) -> None:
        self._bind(node.target, OURS if self._kind(node.iter) == OURS else None)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._bind(node.target, OURS if self._kind(node.iter) == OURS else None)
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if item.optional_vars:
                self._bind(item.optional_vars, self._kind(item.context_expr))
        self.generic_visit(node)

    # What is used

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._use(node.value, node.attr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        name = "".join(map(_text, node.args[1:2])) if function in ("hasattr", "getattr") else ""
        if not name:
            self.generic_visit(node)
            return
        if function == "getattr" and len(node.args) == 2:
            self._use(node.args[0], name)
        else:
            self.asked.add(name)
            kind = self._kind(node.args[0])
            if isinstance(kind, tuple) and ".".join((*kind, name)) not in SOMEWHERE:
                self._report(node.lineno, f"{'.'.join((*kind, name))}?", frozenset(VERSIONS))
        for argument in (node.args[0], *node.args[2:]):
            self.visit(argument)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str):
            return
        if re.fullmatch(r"add_\w+", node.value):
            self._use_member(node.lineno, "INetworkDefinition", node.value)
        elif re.fullmatch(r"[A-Z][A-Z0-9_]+", node.value):
            self._use_any(node.lineno, {name for name in SOMEWHERE if name.endswith(f".{node.value}")})

    def _use(self, value: ast.expr, name: str) -> None:
        kind = self._kind(value)
        if name.startswith("_") or _is_self(value) or kind in (OURS, LITERAL):
            return
        if isinstance(kind, tuple):
            self._use_chain(value.lineno, kind, name)
        else:
            self._use_member(value.lineno, kind, name)

    def _use_chain(self, line: int, owner: tuple[str, ...], name: str) -> None:
        whole = ".".join(owner)
        if not owner or any(
            known.startswith(f"{whole}.") for known in SOMEWHERE
        ):  # else a value, and the name its attribute
            have_owner = (version for version, names in VERSIONS.items() if not owner or whole in names)
            self._report(line, ".".join((*owner, name)), frozenset(have_owner))

    def _use_member(self, line: int, owner: str | None, name: str) -> None:
        if f"{owner}.{name}" in SOMEWHERE:
            self._report(line, f"{owner}.{name}", frozenset(VERSIONS))
            return
        owners = {f"{other}.{name}" for other in CLASSES} & SOMEWHERE
        if owners:
            self._use_any(line, owners)
        elif owner in CLASSES and not any(known.endswith(f".{name}") for known in SOMEWHERE):
            self._report(line, f"{owner}.{name}", frozenset(VERSIONS))

    def _use_any(self, line: int, candidates: set[str]) -> None:
        if candidates and not candidates & EVERYWHERE:
            self._report(line, min(candidates, key=lambda name: (len(name), name)), frozenset(VERSIONS))

    def _report(self, line: int, name: str, among: frozenset[str]) -> None:
        missing = frozenset(version for version in among if name not in VERSIONS[version])
        if missing:
            self.problems.add(Problem(line, name, missing))


def _kind_by_name(name: str) -> Kind:
    bare = name.lstrip("_")
    return () if bare == "trt" else CALLED.get(bare)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _problems_by_file() -> dict[str, list[Problem]]:
    return {path.name: find_problems(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.py"))}


def test_the_target_uses_names_that_every_version_has() -> None:
    problems = [
        f"{file}:{line}: {name} is missing from {', '.join(sorted(missing))}"
        for file, found in _problems_by_file().items()
        for line, name, missing in found
        if name not in GUARDED
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.skipif(not any(FOLDER.glob("*.py")), reason="the target is not there")
def test_every_guarded_name_is_used_and_lacked_as_the_table_says() -> None:
    found = {name: missing for problems in _problems_by_file().values() for _, name, missing in problems}
    assert {name: missing for name, (missing, _) in GUARDED.items()} == {name: found.get(name) for name in GUARDED}


def test_versions_are_those_that_the_files_are_named_for() -> None:
    assert {"8.6.1", "10.0.1", "10.3.0", "10.16.1.11", "11.4.0.106", "rtx-1.7.1.116"} <= set(VERSIONS)
    for path in NAMES.glob("*.json"):
        assert path.stem.removeprefix("rtx-") == json.loads(path.read_text("utf-8"))["version"]
    assert CLASSES <= EVERYWHERE


@pytest.mark.parametrize(
    ("source", "name", "missing"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", "BuilderFlag.FP16", SINCE_11),
        ("config.set_flag(self.trt.BuilderFlag.FP16)", "BuilderFlag.FP16", SINCE_11),
        ("config.set_flag(self._trt.BuilderFlag.FP16)", "BuilderFlag.FP16", SINCE_11),
        ("flags = capabilities.trt.BuilderFlag\nconfig.set_flag(flags.FP16)", "BuilderFlag.FP16", SINCE_11),
        ("trt = capabilities.trt\nconfig.set_flag(getattr(trt.BuilderFlag, 'FP16'))", "BuilderFlag.FP16", SINCE_11),
        ("self._set_flag('FP16')", "BuilderFlag.FP16", SINCE_11),
        ("x.dtype == trt.DataType.INT64", "DataType.INT64", BEFORE_10),
        ("class Monitor(trt.IProgressMonitor): ...", "IProgressMonitor", BEFORE_10),
        ("config.max_workspace_size = 1", "IBuilderConfig.max_workspace_size", frozenset(VERSIONS) - BEFORE_10),
        ("network.add_fully_connected(x)", "INetworkDefinition.add_fully_connected", frozenset(VERSIONS) - BEFORE_10),
        (
            "self._add('add_fully_connected', x)",
            "INetworkDefinition.add_fully_connected",
            frozenset(VERSIONS) - BEFORE_10,
        ),
        ("self._network.add_slices(x)", "INetworkDefinition.add_slices", frozenset(VERSIONS)),
        ("self._layer('add_slices', x)", "INetworkDefinition.add_slices", frozenset(VERSIONS)),
        ("trt.DataType.FLAOT", "DataType.FLAOT", frozenset(VERSIONS)),
        ("hasattr(trt.DataType, 'BF61')", "DataType.BF61?", frozenset(VERSIONS)),
        ("def f(x: Trt): x.precision = 1", "ILayer.precision", SINCE_11),
        ("def f(layers: list[Trt]):\n for a in layers: a.precision = 1", "ILayer.precision", SINCE_11),
        (
            "a = network.add_convolution_nd(x)\na.stride = 1",
            "IConvolutionLayer.stride",
            frozenset(VERSIONS) - BEFORE_10,
        ),
        ("a = self._layer('add_pooling_nd', x)\na.stride = 1", "IPoolingLayer.stride", frozenset(VERSIONS) - BEFORE_10),
        ("a = trt.Runtime(logger)\na.get_engine_validity(plan)", "Runtime.get_engine_validity", ALL_BUT_RTX),
        ("a = runtime.deserialize_cuda_engine(plan)\na.device_memory_size", "ICudaEngine.device_memory_size", SINCE_11),
        (
            "self._engine.create_execution_context().set_binding_shape(0)",
            "IExecutionContext.set_binding_shape",
            frozenset(VERSIONS) - BEFORE_10,
        ),
    ],
)
def test_a_name_that_some_versions_lack_is_found(source: str, name: str, missing: frozenset[str]) -> None:
    assert [(problem.name, problem.missing) for problem in find_problems(source)] == [(name, missing)]


@pytest.mark.parametrize(
    "source",
    [
        "trt.DataType.HALF, self.trt.ILogger.Severity.ERROR, trt.float16, trt.__version__, trt.DataType.HALF.name",
        "network.add_slice(x).get_output(0).dtype; config.set_flag(trt.BuilderFlag.TF32); self._add('add_slice')",
        "if hasattr(trt.BuilderFlag, 'FP16'): config.set_flag(trt.BuilderFlag.FP16)",
        "flag = getattr(getattr(trt, 'PreviewFeature', None), 'PROFILE_SHARING_0806', None)",
        "(getattr(network, 'add_normalization_v2', None) or network.add_normalization)(x)",
        "def f(info: EngineInfo, digest: Any): digest.update(info.precision)",
        "class Pool:\n padding: int\n def f(self) -> None: self.padding.location",
        "a = network.add_slice(x)\na.stride = 1",
        "runtime = _load()\nruntime.cudaGetLastError()\nfor layer in layers: layer.get('Name')",
        "import json\n'a'.query, [].query, json.query, self.precision",
    ],
)
def test_other_names_are_left_alone(source: str) -> None:
    assert find_problems(source) == []

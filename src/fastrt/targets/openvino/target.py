"""The OpenVINO target: IRs, on the CPU or on any device that OpenVINO finds."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import numpy as np
import openvino as ov

from fastrt.errors import EngineError, OutputError, TargetError
from fastrt.files import hash_file
from fastrt.ir.network import Network
from fastrt.passes.half import list_float32
from fastrt.passes.quantize import Placement
from fastrt.targets import checksum
from fastrt.targets.base import BuildOptions, Layer, Mode, Runner, Target, cannot_read, refuse_precision
from fastrt.targets.engine_info import KEY, EngineInfo, read_info
from fastrt.targets.openvino.ir_check import check_ir
from fastrt.targets.openvino.lowering import OpenVinoLowering
from fastrt.targets.openvino.runner import MAX_ISA, OpenVinoRunner, find_reason
from fastrt.targets.table import ROWS

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
WEIGHTS_KEY = "fastrt_weights"
"""Name of the entry of the ``.xml`` with the SHA-256 of the ``.bin``, and of itself."""

CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}
BF16_INSTRUCTIONS = ("DEFAULT", "ALL", "BF16", "FP16", "AMX", "AVX10", "VNNI_2")
"""Substrings of ``ONEDNN_MAX_CPU_ISA`` values that permit bfloat16 instructions."""

FLOAT_MODES = ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
"""Environment variables that let oneDNN compute float32 with fewer bits, against OpenVINO's hints."""


class OpenVinoTarget(Target, row=ROWS["openvino"]):
    """OpenVINO on the CPU, or on any device that it finds."""

    whole_up_to: ClassVar[float] = 0
    placement: ClassVar[Placement] = Placement(
        unsigned=True, signed="int8", both_sides=False, pairs_in_int16=True, bias_in_int32=False
    )

    def precisions(self) -> tuple[str, ...]:
        capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        narrowed = os.environ.get(MAX_ISA, "DEFAULT").upper()
        if not any(word in narrowed for word in BF16_INSTRUCTIONS):
            # OpenVINO still lists BF16, but then finds no kernel.
            capabilities = [capability for capability in capabilities if capability != "BF16"]
        floating = (precision for precision, capability in CAPABILITIES.items() if capability in capabilities)
        return (*floating, "int8")

    def version(self) -> str:
        return f"openvino {ov.get_version().split('-')[0]}"

    def build(self, network: Network, path: Path, info: EngineInfo, options: BuildOptions) -> None:
        nodes = [node for _, node in OpenVinoLowering().lower(network)]
        model = ov.Model([nodes[-1]], [nodes[0]], "fastrt")
        model.set_rt_info(info.to_text(), [KEY])
        written = path.with_suffix(".xml")  # OpenVINO writes no .XML
        try:
            ov.save_model(model, written, compress_to_fp16=False)
            written.rename(path)
            _complete(path, list_float32(network) if info.precision == "fp16" else ())
        except (RuntimeError, ET.ParseError) as error:
            _write_zeros(path, sum(array.nbytes for tensor in network for array in tensor.operation.arrays().values()))
            raise OutputError(f"{path}: cannot be written ({find_reason(error)})") from error

    def load(self, path: Path, device: str, intermediate: Collection[str] = (), mode: Mode = "latency") -> Runner:
        model = _read(path)
        info = _describe(model, path)
        core = ov.Core()
        name = device.upper()
        if name.split(":")[0].split(".")[0] not in {*(found.split(".")[0] for found in core.available_devices), "AUTO"}:
            known = ", ".join(found.lower() for found in core.available_devices)
            raise TargetError(f"openvino: no device {device} on this host; expected one of {known}")
        _refuse_float_modes()
        if name == "CPU" and info.precision is not None:
            refuse_precision(self, info.precision)
        names = _add_outputs(model, intermediate)
        # By default OpenVINO computes in bfloat16 if the CPU supports it.
        config = {"INFERENCE_PRECISION_HINT": HINTS[info.precision or "fp32"], "PERFORMANCE_HINT": mode.upper()}
        try:
            compiled = core.compile_model(model, name, config)
        except RuntimeError as error:
            raise EngineError(f"{path}: openvino cannot compile it for {device} ({find_reason(error)})") from error
        counting = partial(core.compile_model, path, name, {**config, "PERF_COUNT": True})
        return OpenVinoRunner(compiled, info, names, counting)

    def describe(self, path: Path) -> EngineInfo:
        return _describe(_read(path), path)

    def layers(self, path: Path) -> list[Layer]:
        return [
            Layer(op.get_friendly_name(), op.get_type_name(), _shape(op.output(0))[1:])
            for op in _read(path).get_ordered_ops()
            if op.get_type_name() not in ("Constant", "Result")
        ]


def _refuse_float_modes() -> None:
    for name in FLOAT_MODES:
        mode = os.environ.get(name, "")
        if mode.upper() not in ("", "STRICT"):
            raise TargetError(
                f"openvino: {name} is {mode}; expected STRICT, as float32 would be computed with fewer bits. Unset it,"
                " and choose a precision when you build."
            )


def _read(path: Path) -> Any:
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise EngineError(f"{path}: no {weights.name} in its folder; expected both files of an OpenVINO engine")
    with path.open("rb") as file:
        if b"<net" not in file.read(1024):  # else OpenVINO tries all its other formats and prints messages
            raise EngineError(f"{path}: not an OpenVINO engine, or damaged. Build it again.")
    checksum.check(path, WEIGHTS_KEY)
    check_ir(path)
    try:
        model = ov.Core().read_model(path)
    except (RuntimeError, UnicodeDecodeError, MemoryError) as error:
        raise cannot_read(path, "an OpenVINO engine", error, find_reason(error)) from None
    _check_weights(model, path)
    return model


def _describe(model: Any, path: Path) -> EngineInfo:
    text = _read_entry(model, KEY, path)
    inputs = [(_name(port), _shape(port), _dtype(port)) for port in model.inputs]
    return read_info(text, OpenVinoTarget.name, path, inputs, [_shape(port) for port in model.outputs])


def _read_entry(model: Any, key: str, path: Path) -> str | None:
    """Read an entry of the ``.xml`` beside the graph; None if there is none."""
    try:
        return str(model.get_rt_info([key]).astype(str)) if model.has_rt_info([key]) else None
    except UnicodeDecodeError as error:
        raise EngineError(f"{path}: damaged: {key} is not UTF-8 ({error}). Build it again.") from None


def _check_weights(model: Any, path: Path) -> None:
    """Raise `EngineError` unless the ``.bin`` is the one that was written with the ``.xml``.

    Engines of other tools and of earlier versions of fastrt do not state its checksum.
    """
    stated = _read_entry(model, WEIGHTS_KEY, path)
    if stated is not None:
        stated, found = stated[:64], hash_file(path.with_suffix(".bin"))
        if stated != found:
            raise EngineError(
                f"{path.with_suffix('.bin')}: SHA-256 {found[:8]}...; expected {stated[:8]}..., as in {path.name}."
                " It is of another engine, or damaged: copy both files again, or build it again."
            )


def _write_zeros(path: Path, size: int) -> None:
    """Write a file of zeros: the system's error says why openvino could not write one, and openvino's does not."""
    with path.open("wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(bytes(1 << 20))


def _complete(path: Path, float32: Collection[str]) -> None:
    """Add to an IR what OpenVINO cannot write from Python.

    These are the checksums of the weights and of the file; and, for FP16, marks of the layers that OpenVINO must
    compute in float32, because GeM's powers overflow. The mark is ``ov::DisableFP16Compression``, which OpenVINO
    publishes only for C++.

    Raises:
        RuntimeError: the ``.bin`` was cut short, because the disk is full.
    """
    tree = ET.parse(path)  # noqa: S314 (OpenVINO has just written it)
    weights = path.with_suffix(".bin")
    constants = tree.iterfind("layers/layer/data[@offset]")
    ends = [int(data.get("offset", 0)) + int(data.get("size", 0)) for data in constants]
    if weights.stat().st_size < max(ends, default=0):
        raise RuntimeError("the weights were cut short")
    info = tree.find("rt_info")
    if info is None:
        raise RuntimeError("the description is missing")
    ET.SubElement(info, WEIGHTS_KEY, value=f"{hash_file(weights)} {checksum.BLANK}")
    for layer in tree.iter("layer"):
        if layer.get("name") in float32:
            info = layer.find("rt_info")
            if info is None:
                info = ET.Element("rt_info")
                layer.insert(0, info)
            ET.SubElement(info, "attribute", name="precise", version="0")
    path.write_bytes(checksum.state(ET.tostring(tree.getroot()), WEIGHTS_KEY))


def _name(port: Any) -> str:
    return next(iter(sorted(port.get_names())), "its input")


def _shape(port: Any) -> tuple[int, ...]:
    shape = port.get_partial_shape()
    return tuple(axis.get_length() if axis.is_static else -1 for axis in shape) if shape.rank.is_static else ()


def _dtype(port: Any) -> str:
    return str(np.dtype(port.get_element_type().to_dtype()))


def _add_outputs(model: Any, names: Collection[str]) -> list[str]:
    """Add the tensors of these names as outputs, those that exist; return the names of all outputs, in order."""
    embedding = _name(model.output(0))
    added = {}
    for op in model.get_ordered_ops():
        name = op.get_friendly_name()
        is_computed = op.get_type_name() not in ("Result", "Constant", "Parameter")
        if is_computed and name in names and name != embedding and name in op.output(0).get_names():
            added[name] = op.output(0)
    model.add_outputs(list(added.values()))
    return [embedding, *added]

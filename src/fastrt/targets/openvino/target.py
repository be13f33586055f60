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
from fastrt.ir.network import Network
from fastrt.passes.half import list_float32
from fastrt.passes.quantize import Placement
from fastrt.targets.base import BuildOptions, Layer, Mode, Runner, Target, refuse_precision
from fastrt.targets.engine_info import KEY, EngineInfo, read_info
from fastrt.targets.openvino.ir_check import check_ir
from fastrt.targets.openvino.lowering import OpenVinoLowering
from fastrt.targets.openvino.runner import OpenVinoRunner, find_reason
from fastrt.targets.table import ROWS

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}
BF16_INSTRUCTIONS = ("DEFAULT", "ALL", "BF16", "FP16", "AMX", "AVX10", "VNNI_2")
"""Substrings of ``ONEDNN_MAX_CPU_ISA`` values that permit bfloat16 instructions."""


class OpenVinoTarget(Target, row=ROWS["openvino"]):
    """OpenVINO on the CPU, or on any device that it finds."""

    whole_up_to: ClassVar[float] = 0
    placement: ClassVar[Placement] = Placement(
        unsigned=True, signed="int8", both_sides=False, pairs_in_int16=True, bias_in_int32=False
    )

    def precisions(self) -> tuple[str, ...]:
        capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        narrowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
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
        try:
            ov.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            raise OutputError(f"{path}: it cannot be written ({find_reason(error)})") from error
        if info.precision == "fp16":
            _mark_float32(path, list_float32(network))

    def load(self, path: Path, device: str, intermediate: Collection[str] = (), mode: Mode = "latency") -> Runner:
        model = _read(path)
        info = _describe(model, path)
        core = ov.Core()
        name = device.upper()
        if name.split(":")[0].split(".")[0] not in {*(found.split(".")[0] for found in core.available_devices), "AUTO"}:
            known = ", ".join(found.lower() for found in core.available_devices)
            raise TargetError(f"openvino: no device {device} on this host; expected one of {known}")
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


def _read(path: Path) -> Any:
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise EngineError(f"{path}: no {weights.name} in its folder; expected both files of an OpenVINO engine")
    with path.open("rb") as file:
        if b"<net" not in file.read(1024):  # else OpenVINO tries all its other formats and prints messages
            raise EngineError(f"{path}: not an OpenVINO engine, or damaged. Build it again.")
    check_ir(path)
    try:
        model = ov.Core().read_model(path)
    except (RuntimeError, UnicodeDecodeError) as error:
        raise EngineError(
            f"{path}: not an OpenVINO engine, or damaged ({find_reason(error)}). Build it again."
        ) from None
    return model


def _describe(model: Any, path: Path) -> EngineInfo:
    try:
        text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
    except UnicodeDecodeError as error:
        raise EngineError(f"{path}: damaged: its description is not UTF-8 ({error}). Build it again.") from None
    inputs = [(_name(port), _shape(port), _dtype(port)) for port in model.inputs]
    return read_info(text, OpenVinoTarget.name, path, inputs, [_shape(port) for port in model.outputs])


def _mark_float32(path: Path, names: Collection[str]) -> None:
    """Mark the layers that OpenVINO must compute in float32 in an FP16 engine: GeM's powers overflow in FP16.

    The mark is ``ov::DisableFP16Compression``. OpenVINO publishes it only for C++, so it is written into the file.
    """
    tree = ET.parse(path)  # noqa: S314 (OpenVINO has just written it)
    for layer in tree.iter("layer"):
        if layer.get("name") in names:
            info = layer.find("rt_info")
            if info is None:
                info = ET.Element("rt_info")
                layer.insert(0, info)
            ET.SubElement(info, "attribute", name="precise", version="0")
    tree.write(path)


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

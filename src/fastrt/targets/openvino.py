"""OpenVINO: the default target, on any CPU. An engine file is an IR, ``.xml`` with its ``.bin`` beside it.

The only file that imports openvino.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import numpy as np
import openvino as ov
from openvino import opset1 as op1
from openvino import opset14 as op14

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError, OutputError, TargetError
from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import (
    Add,
    Cast,
    Clamp,
    Concat,
    Convolution,
    Input,
    InstanceNorm,
    L2Normalize,
    LeakyRelu,
    MatMul,
    MaxPool,
    Multiply,
    Power,
    QuantizeDequantize,
    ReduceMax,
    ReduceMean,
    Relu,
    Reshape,
    ScaleShift,
    Sigmoid,
    Slice,
    Transpose,
)
from fastrt.passes.half import list_float32
from fastrt.passes.quantize import Placement
from fastrt.targets.base import BuildOptions, Layer, Lowering, Mode, Runner, Target, refuse_precision
from fastrt.targets.engine_info import KEY, EngineInfo, read_info

Node = Any
"""An openvino node; openvino publishes no types for what its opsets return."""

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}
BF16_INSTRUCTIONS = ("DEFAULT", "ALL", "BF16", "FP16", "AMX", "AVX10", "VNNI_2")
"""Parts of the values of ``ONEDNN_MAX_CPU_ISA`` that leave a CPU its bfloat16 instructions."""

FLOAT_MAX = float(np.finfo(np.float32).max)


class OpenVinoLowering(Lowering[Node]):
    """A network as openvino nodes, each under its tensor's name."""

    target: ClassVar[str] = "openvino"

    def named(self, tensor: Tensor, value: Node) -> Node:
        value.set_friendly_name(tensor.name)
        value.output(0).get_tensor().set_names({tensor.name})
        return value

    def input(self, op: Input) -> Node:
        return op14.parameter(ov.PartialShape([-1, *op.shape]), ov.Type(np.dtype(op.dtype)))

    def cast(self, op: Cast, x: Node) -> Node:
        return op14.convert(x, op.dtype.replace("float", "f"))

    def transpose(self, op: Transpose, x: Node) -> Node:
        return op14.transpose(x, _integers(0, *(axis + 1 for axis in op.axes)))

    def reshape(self, op: Reshape, x: Node) -> Node:
        return op14.reshape(x, _integers(-1, *op.shape), special_zero=False)

    def slice(self, op: Slice, x: Node) -> Node:
        return op14.slice(x, *(_integers(value) for value in (op.start, op.stop, 1, op.axis + 1)))

    def concat(self, _: Concat, *xs: Node) -> Node:
        return op14.concat(list(xs), 1)

    def scale_shift(self, op: ScaleShift, x: Node) -> Node:
        return op14.add(op14.multiply(x, _per_channel(op.scale, x)), _per_channel(op.shift, x))

    def convolution(self, op: Convolution, x: Node) -> Node:
        padding = [op.padding, op.padding]
        weight = op14.constant(op.weight)
        if op.scale is not None:
            weight = op14.multiply(op14.convert(weight, "f32"), op14.constant(op.scale[:, None, None, None]))
        y = op14.convolution(x, weight, [op.stride, op.stride], padding, padding, [1, 1])
        return y if op.bias is None else op14.add(y, _per_channel(op.bias, y))

    def quantize_dequantize(self, op: QuantizeDequantize, x: Node) -> Node:
        low, high = (op14.constant(np.float32(limit)) for limit in op.limits)
        return op14.fake_quantize(x, low, high, low, high, 256)

    def max_pool(self, op: MaxPool, x: Node) -> Node:
        height, width = (op.padding_after(axis.get_length()) for axis in list(x.get_output_partial_shape(0))[2:])
        # What juts out is padded by hand, so that the operation's own rule of rounding is the only one.
        return op1.max_pool(x, [op.stride] * 2, [op.padding] * 2, [height, width], [op.kernel] * 2, "floor", "explicit")

    def instance_norm(self, op: InstanceNorm, x: Node) -> Node:
        normed = op14.mvn(x, _integers(2, 3), True, op.eps, "inside_sqrt")
        return op14.add(op14.multiply(normed, _per_channel(op.weight, x)), _per_channel(op.bias, x))

    def relu(self, _: Relu, x: Node) -> Node:
        return op14.relu(x)

    def leaky_relu(self, op: LeakyRelu, x: Node) -> Node:
        return op14.prelu(x, op14.constant(np.array([op.slope], np.float32)))

    def sigmoid(self, _: Sigmoid, x: Node) -> Node:
        return op14.sigmoid(x)

    def clamp(self, op: Clamp, x: Node) -> Node:
        low, high = (
            default if value is None else value for value, default in ((op.low, -FLOAT_MAX), (op.high, FLOAT_MAX))
        )
        return op14.clamp(x, low, high)

    def power(self, op: Power, x: Node) -> Node:
        return op14.power(x, op14.constant(np.float32(op.exponent)))

    def add(self, _: Add, a: Node, b: Node) -> Node:
        return op14.add(a, b)

    def multiply(self, _: Multiply, a: Node, b: Node) -> Node:
        return op14.multiply(a, b)

    def mat_mul(self, op: MatMul, a: Node, b: Node) -> Node:
        return op14.matmul(a, b, op.transpose_a, op.transpose_b)

    def reduce_mean(self, _: ReduceMean, x: Node) -> Node:
        return op14.reduce_mean(x, _integers(2, 3), keep_dims=True)

    def reduce_max(self, _: ReduceMax, x: Node) -> Node:
        return op14.reduce_max(x, _integers(2, 3), keep_dims=True)

    def l2_normalize(self, op: L2Normalize, x: Node) -> Node:
        # eps is squared under the root here, and outside of it in the operation
        return op14.normalize_l2(x, _integers(1), op.eps**2, "max")


def _integers(*values: int) -> Node:
    return op14.constant(np.asarray(values, np.int64))


def _per_channel(array: Array, x: Node) -> Node:
    rank = x.get_output_partial_shape(0).rank.get_length()
    return op14.constant(array.astype(np.float32).reshape(1, -1, *(1,) * (rank - 2)))


class OpenVinoTarget(Target):
    """OpenVINO on the CPU, or on any device that it finds."""

    name: ClassVar[str] = "openvino"
    suffix: ClassVar[str] = ".xml"
    whole_up_to: ClassVar[float] = 0
    placement: ClassVar[Placement] = Placement(
        unsigned=True, signed="int8", both_sides=False, pairs_in_int16=True, bias_in_int32=False
    )

    def precisions(self) -> tuple[str, ...]:
        capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        narrowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
        if not any(word in narrowed for word in BF16_INSTRUCTIONS):
            # OpenVINO lists it all the same, and then finds no kernel.
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
            raise OutputError(f"cannot write {path}: {_first_line(error)}") from error
        if info.precision == "fp16":
            _mark_float32(path, list_float32(network))

    def load(self, path: Path, device: str, taps: bool | Collection[str] = False, mode: Mode = "latency") -> Runner:
        model = _read(path)
        info = _describe(model, path)
        core = ov.Core()
        name = device.upper()
        if name.split(":")[0].split(".")[0] not in {*(found.split(".")[0] for found in core.available_devices), "AUTO"}:
            known = ", ".join(found.lower() for found in core.available_devices)
            raise TargetError(f"openvino finds no device {device} here; it finds {known}")
        if name == "CPU" and info.precision is not None:
            refuse_precision(self, info.precision)
        names = _tap(model, None if taps is True else taps) if taps else []
        # Left to itself OpenVINO computes in bfloat16 wherever the CPU can.
        config = {"INFERENCE_PRECISION_HINT": HINTS[info.precision or "fp32"], "PERFORMANCE_HINT": mode.upper()}
        try:
            return OpenVinoRunner(core.compile_model(model, name, config), info, names)
        except RuntimeError as error:
            raise EngineError(f"openvino cannot compile {path} for {device}: {_first_line(error)}") from error

    def describe(self, path: Path) -> EngineInfo:
        return _describe(_read(path), path)

    def layers(self, path: Path) -> list[Layer]:
        return [
            Layer(op.get_friendly_name(), op.get_type_name(), _shape(op.output(0))[1:])
            for op in _read(path).get_ordered_ops()
            if op.get_type_name() not in ("Constant", "Result")
        ]


class OpenVinoRunner(Runner):
    """A compiled model; each thread that calls takes an inference request of its own from a pool."""

    def __init__(self, compiled: Any, info: EngineInfo, names: list[str]) -> None:
        self.info = info
        self._compiled: Any | None = compiled
        self._names = names
        self._idle: LifoQueue[Any] = LifoQueue()
        self._at_once = max(2, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
        if "INFERENCE_NUM_THREADS" in compiled.get_property("SUPPORTED_PROPERTIES"):
            self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))

    def run(self, batch: Array) -> Embeddings:
        return self._infer(batch)[0].reshape(len(batch), -1)

    def run_tapped(self, batch: Array) -> Mapping[str, Array]:
        return dict(zip(self._names, self._infer(batch), strict=True))

    def run_all(self, batches: Iterable[Array]) -> Iterator[Embeddings]:
        """The embeddings of each batch in turn; others wait in line or are computed beside it, as the mode has it."""
        flying: deque[tuple[Any, Array]] = deque()
        try:
            for batch in batches:
                if len(flying) == self._at_once:
                    yield self._collect(flying)
                request = self._take()
                flying.append((request, batch))  # which must live as long as the request
                request.start_async([batch], share_inputs=True)
            while flying:
                yield self._collect(flying)
        finally:
            for request, _ in flying:  # only after an error, or when nobody wants more
                with suppress(RuntimeError):
                    request.wait()
                self._idle.put(request)

    def _collect(self, flying: deque[tuple[Any, Array]]) -> Embeddings:
        request, batch = flying[0]
        try:
            request.wait()
            rows = np.array(request.output_tensors[0].data).reshape(len(batch), -1)
        except RuntimeError as error:
            raise _failed(batch, error) from error
        flying.popleft()
        self._idle.put(request)
        return rows

    def _infer(self, batch: Array) -> list[Array]:
        request = self._take()
        try:
            request.infer([batch], share_inputs=True)
            return [np.array(tensor.data) for tensor in request.output_tensors]
        except RuntimeError as error:
            raise _failed(batch, error) from error
        finally:
            self._idle.put(request)

    def _take(self) -> Any:
        if self._compiled is None:
            raise EngineError("the session is closed; load the engine again")
        try:
            return self._idle.get_nowait()
        except Empty:
            return self._compiled.create_infer_request()

    def close(self) -> None:
        self._compiled = None
        self._idle = LifoQueue()


def _failed(batch: Array, error: Exception) -> EngineError:
    return EngineError(f"openvino failed on a batch of shape {batch.shape}: {_first_line(error)}")


def _read(path: Path) -> Any:
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise EngineError(f"{path} has no {weights.name} beside it; both files of an OpenVINO engine are needed")
    with path.open("rb") as file:
        if b"<net" not in file.read(1024):  # else OpenVINO would try all other formats that it knows, aloud
            raise EngineError(f"{path} is not an OpenVINO engine, or is damaged; build it again")
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        raise EngineError(f"{path} is not an OpenVINO engine, or is damaged: {_first_line(error)}") from None
    return model


def _describe(model: Any, path: Path) -> EngineInfo:
    text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
    inputs = [(_name(port), _shape(port), _dtype(port)) for port in model.inputs]
    return read_info(text, OpenVinoTarget.name, path, inputs, [_shape(port) for port in model.outputs])


def _mark_float32(path: Path, names: Collection[str]) -> None:
    """Mark layers that OpenVINO computes in float32 where the rest is in float16, as GeM's powers overflow in float16.

    The mark is ``ov::DisableFP16Compression``, which OpenVINO publishes for C++ alone, so it is written into the file.
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


def _tap(model: Any, wanted: Collection[str] | None) -> list[str]:
    """Make an output of every node that bears a (wanted) tensor's name; the names of all outputs, in order."""
    output = model.output(0)
    taps = {}
    for op in model.get_ordered_ops():
        name = op.get_friendly_name()
        if op.get_type_name() not in ("Result", "Constant", "Parameter") and name in op.output(0).get_names():
            if wanted is not None and name not in wanted:
                continue
            taps[name] = op.output(0)
    taps.pop(output.get_any_name(), None)
    model.add_outputs(list(taps.values()))
    return [output.get_any_name(), *taps]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

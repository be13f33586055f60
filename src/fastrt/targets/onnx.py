"""ONNX: a plain file for everyone else's tools; runs where onnxruntime is installed.

The only file that imports onnx and onnxruntime.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError, TargetError
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
from fastrt.passes.quantize import Placement
from fastrt.targets.base import BuildOptions, Layer, Lowering, Mode, Runner, Target
from fastrt.targets.engine_info import KEY, EngineInfo, read_info

OPSET = 17
IR_VERSION = 9
"""The widest runtimes read these: onnxruntime since 1.16, TensorRT since 8.6."""

BATCH = "batch"
PIXELS = (2, 3)


class OnnxLowering(Lowering[str]):
    """A network as ONNX nodes; values are their names."""

    target: ClassVar[str] = "onnx"

    def __init__(self) -> None:
        import onnx

        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.ranks: dict[str, int] = {}

    def named(self, tensor: Tensor, value: str) -> str:
        if self.nodes and self.nodes[-1].output[0] == value:
            self.nodes[-1].output[0] = self.nodes[-1].name = tensor.name
        self.ranks[tensor.name] = len(tensor.shape) + 1
        return tensor.name

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"value{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def _constant(self, array: Array) -> str:
        name = f"constant{len(self.initializers)}"
        self.initializers.append(self._onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def _integers(self, *values: int) -> str:
        return self._constant(np.asarray(values, np.int64))

    def _float(self, value: float) -> str:
        return self._constant(np.asarray(value, np.float32))

    def _scale_shift(self, scale: Array, shift: Array, x: str, rank: int) -> str:
        scale, shift = (array.astype(np.float32).reshape(1, -1, *(1,) * (rank - 2)) for array in (scale, shift))
        return self._node("Add", self._node("Mul", x, self._constant(scale)), self._constant(shift))

    def input(self, _: Input) -> str:
        return ""  # named after the tensor; a graph's input is no node

    def cast(self, op: Cast, x: str) -> str:
        return self._node("Cast", x, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(op.dtype)))

    def transpose(self, op: Transpose, x: str) -> str:
        return self._node("Transpose", x, perm=[0, *(axis + 1 for axis in op.axes)])

    def reshape(self, op: Reshape, x: str) -> str:
        return self._node("Reshape", x, self._integers(-1, *op.shape))

    def slice(self, op: Slice, x: str) -> str:
        return self._node("Slice", x, *(self._integers(value) for value in (op.start, op.stop, op.axis + 1)))

    def concat(self, _: Concat, *xs: str) -> str:
        return self._node("Concat", *xs, axis=1)

    def scale_shift(self, op: ScaleShift, x: str) -> str:
        return self._scale_shift(op.scale, op.shift, x, self.ranks[x])

    def convolution(self, op: Convolution, x: str) -> str:
        weight = self._constant(op.weight)
        if op.scale is not None:
            zero = self._constant(np.zeros(len(op.scale), np.int8))
            weight = self._node("DequantizeLinear", weight, self._constant(op.scale), zero, axis=0)
        arrays = [weight] + ([] if op.bias is None else [self._constant(op.bias)])
        return self._node(
            "Conv", x, *arrays, strides=[op.stride] * 2, pads=[op.padding] * 4, kernel_shape=op.weight.shape[2:]
        )

    def quantize_dequantize(self, op: QuantizeDequantize, x: str) -> str:
        grid = self._float(op.scale), self._constant(np.asarray(op.zero_point, op.grid))
        return self._node("DequantizeLinear", self._node("QuantizeLinear", x, *grid), *grid)

    def max_pool(self, op: MaxPool, x: str) -> str:
        return self._node(
            "MaxPool",
            x,
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.padding] * 4,
            ceil_mode=int(op.ceil),
        )

    def instance_norm(self, op: InstanceNorm, x: str) -> str:
        return self._node(
            "InstanceNormalization", x, self._constant(op.weight), self._constant(op.bias), epsilon=op.eps
        )

    def relu(self, _: Relu, x: str) -> str:
        return self._node("Relu", x)

    def leaky_relu(self, op: LeakyRelu, x: str) -> str:
        return self._node("LeakyRelu", x, alpha=op.slope)

    def sigmoid(self, _: Sigmoid, x: str) -> str:
        return self._node("Sigmoid", x)

    def clamp(self, op: Clamp, x: str) -> str:
        return self._node("Clip", x, *("" if value is None else self._float(value) for value in (op.low, op.high)))

    def power(self, op: Power, x: str) -> str:
        return self._node("Pow", x, self._float(op.exponent))

    def add(self, _: Add, a: str, b: str) -> str:
        return self._node("Add", a, b)

    def multiply(self, _: Multiply, a: str, b: str) -> str:
        return self._node("Mul", a, b)

    def mat_mul(self, op: MatMul, a: str, b: str) -> str:
        a = self._node("Transpose", a, perm=[0, 2, 1]) if op.transpose_a else a
        b = self._node("Transpose", b, perm=[0, 2, 1]) if op.transpose_b else b
        return self._node("MatMul", a, b)

    def reduce_mean(self, _: ReduceMean, x: str) -> str:
        return self._node("ReduceMean", x, axes=PIXELS, keepdims=1)

    def reduce_max(self, _: ReduceMax, x: str) -> str:
        return self._node("ReduceMax", x, axes=PIXELS, keepdims=1)

    def l2_normalize(self, op: L2Normalize, x: str) -> str:
        length = self._node("ReduceL2", x, axes=[1], keepdims=1)
        return self._node("Div", x, self._node("Max", length, self._float(op.eps)))


class OnnxTarget(Target):
    """ONNX files, run by onnxruntime on the CPU."""

    name: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"
    placement: ClassVar[Placement] = Placement(
        unsigned=True, signed="uint8", both_sides=True, pairs_in_int16=True, bias_in_int32=True
    )

    def precisions(self) -> tuple[str, ...]:
        return ("fp32", "int8")

    def version(self) -> str:
        return f"onnx {_import_onnx().__version__} opset {OPSET}"

    def build(self, network: Network, path: Path, info: EngineInfo, options: BuildOptions) -> None:
        onnx = _import_onnx()
        lowering = OnnxLowering()
        for _ in lowering.lower(network):
            pass
        graph = onnx.helper.make_graph(
            lowering.nodes,
            "fastrt",
            [_value_info(onnx, network.input)],
            [_value_info(onnx, network.output)],
            lowering.initializers,
        )
        model = onnx.helper.make_model(
            graph, producer_name="fastrt", ir_version=IR_VERSION, opset_imports=[onnx.helper.make_opsetid("", OPSET)]
        )
        onnx.helper.set_model_props(model, {KEY: info.to_text()})
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())

    def load(self, path: Path, device: str, taps: bool | Collection[str] = False, mode: Mode = "latency") -> Runner:
        if device != "cpu":
            raise TargetError(f"onnx runs on cpu, not on {device}; build an engine for that device instead")
        if not taps:
            session = _open(str(path), path)
            return OnnxRunner(session, _describe(session, path), [])
        onnx = _import_onnx()
        info = self.describe(path)
        model = _load_proto(onnx, path)
        output = model.graph.output[0].name
        names = [node.name for node in model.graph.node if [node.name] == list(node.output) and node.name != output]
        if taps is not True:
            names = [name for name in names if name in taps]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        return OnnxRunner(_open(model.SerializeToString(), path), info, [output, *names])

    def describe(self, path: Path) -> EngineInfo:
        return _describe(_open(str(path), path), path)

    def layers(self, path: Path) -> list[Layer]:
        onnx = _import_onnx()
        model = onnx.shape_inference.infer_shapes(_load_proto(onnx, path))
        shapes = {
            value.name: tuple(axis.dim_value or -1 for axis in value.type.tensor_type.shape.dim)[1:]
            for value in [*model.graph.value_info, *model.graph.output]
        }
        return [Layer(node.output[0], node.op_type, shapes.get(node.output[0], ())) for node in model.graph.node]


class OnnxRunner(Runner):
    """An onnxruntime session, which any number of threads may share."""

    def __init__(self, session: Any, info: EngineInfo, names: list[str]) -> None:
        self.info = info
        self._session: Any | None = session
        self._names = names
        self._input = session.get_inputs()[0].name

    def run(self, batch: Array) -> Embeddings:
        embeddings: Embeddings = self._run(batch, [self._open().get_outputs()[0].name])[0]
        return embeddings.reshape(len(batch), -1)

    def run_tapped(self, batch: Array) -> Mapping[str, Array]:
        return dict(zip(self._names, self._run(batch, self._names), strict=True))

    def _run(self, batch: Array, names: list[str]) -> list[Array]:
        try:
            results: list[Array] = self._open().run(names, {self._input: batch})
        except EngineError:
            raise
        except Exception as error:  # onnxruntime's own exceptions have no common base but this
            raise EngineError(f"onnxruntime failed on a batch of shape {batch.shape}: {error}") from error
        return results

    def _open(self) -> Any:
        if self._session is None:
            raise EngineError("the session is closed; load the engine again")
        return self._session

    def close(self) -> None:
        self._session = None


def _value_info(onnx: Any, tensor: Tensor) -> Any:
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return onnx.helper.make_tensor_value_info(tensor.name, dtype, [BATCH, *tensor.shape])


def _import_onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError:
        raise TargetError("onnx is not installed; to write ONNX files: pip install 'fastrt[onnx]'") from None
    return onnx


def _load_proto(onnx: Any, path: Path) -> Any:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors have no common base but this
        raise EngineError(f"{path} is not an ONNX engine, or is damaged: {error}") from None


def _open(model: str | bytes, path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise TargetError("onnxruntime is not installed; to run ONNX files: pip install 'fastrt[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common base but this
        raise EngineError(f"{path} is not an ONNX engine, or is damaged: {str(error).splitlines()[0]}") from None


def _describe(session: Any, path: Path) -> EngineInfo:
    inputs = [(port.name, _shape(port), _DTYPES.get(port.type, port.type)) for port in session.get_inputs()]
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    return read_info(text, OnnxTarget.name, path, inputs, [_shape(port) for port in session.get_outputs()])


_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def _shape(port: Any) -> tuple[int, ...]:
    return tuple(axis if isinstance(axis, int) else -1 for axis in port.shape)

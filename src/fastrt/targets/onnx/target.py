"""The ONNX target: plain files, run by onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fastrt.errors import EngineError, TargetError
from fastrt.ir.network import Network, Tensor
from fastrt.passes.quantize import Placement
from fastrt.targets import checksum
from fastrt.targets.base import BuildOptions, Layer, Mode, Runner, Target, cannot_read
from fastrt.targets.engine_info import KEY, EngineInfo, read_info
from fastrt.targets.onnx.lowering import OnnxLowering
from fastrt.targets.onnx.runner import OnnxRunner, open_session
from fastrt.targets.table import ROWS

OPSET = 17
IR_VERSION = 9
"""ONNX opset and IR version with the widest runtime support: onnxruntime since 1.16, TensorRT since 8.6."""

BATCH = "batch"
CHECKSUM_KEY = "fastrt_sha256"
"""Name of the metadata entry with the checksum of the file."""


class OnnxTarget(Target, row=ROWS["onnx"]):
    """ONNX files, run by onnxruntime on the CPU."""

    placement: ClassVar[Placement] = Placement(
        unsigned=True, signed="uint8", both_sides=True, pairs_in_int16=True, bias_in_int32=True
    )

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
        onnx.helper.set_model_props(model, {KEY: info.to_text(), CHECKSUM_KEY: checksum.BLANK})
        onnx.checker.check_model(model)
        path.write_bytes(checksum.state(model.SerializeToString(), CHECKSUM_KEY))

    def load(self, path: Path, device: str, intermediate: Collection[str] = (), mode: Mode = "latency") -> Runner:
        if device != "cpu":
            raise TargetError(f"onnx: device {device}; expected cpu. Build an engine of another target for it.")
        checksum.check(path, CHECKSUM_KEY)
        open_profiled = partial(open_session, str(path), path)
        if not intermediate:
            session = open_session(str(path), path)
            return OnnxRunner(session, _describe(session, path), [], open_profiled)
        onnx = _import_onnx()
        info = self.describe(path)
        model = _load_proto(onnx, path)
        output = model.graph.output[0].name
        made = (node.name for node in model.graph.node if [node.name] == list(node.output))
        names = [name for name in made if name in intermediate and name != output]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        return OnnxRunner(open_session(model.SerializeToString(), path), info, [output, *names], open_profiled)

    def describe(self, path: Path) -> EngineInfo:
        checksum.check(path, CHECKSUM_KEY)
        return _describe(open_session(str(path), path), path)

    def layers(self, path: Path) -> list[Layer]:
        onnx = _import_onnx()
        checksum.check(path, CHECKSUM_KEY)
        model = onnx.shape_inference.infer_shapes(_load_proto(onnx, path))
        shapes = {
            value.name: tuple(axis.dim_value or -1 for axis in value.type.tensor_type.shape.dim)[1:]
            for value in [*model.graph.value_info, *model.graph.output]
        }
        return [Layer(node.output[0], node.op_type, shapes.get(node.output[0], ())) for node in model.graph.node]


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
        raise TargetError("onnx: it is not installed. To write ONNX files, run pip install 'fastrt[onnx]'.") from None
    return onnx


def _load_proto(onnx: Any, path: Path) -> Any:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors share no other base class
        raise cannot_read(path, "an ONNX engine", error) from None


def _describe(session: Any, path: Path) -> EngineInfo:
    try:
        inputs = [(port.name, _shape(port), _DTYPES.get(port.type, port.type)) for port in session.get_inputs()]
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
        outputs = [_shape(port) for port in session.get_outputs()]
    except UnicodeDecodeError as error:
        raise EngineError(f"{path}: damaged: a name is not UTF-8 ({error}). Build it again.") from None
    return read_info(text, OnnxTarget.name, path, inputs, outputs)


_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def _shape(port: Any) -> tuple[int, ...]:
    return tuple(axis if isinstance(axis, int) else -1 for axis in port.shape)

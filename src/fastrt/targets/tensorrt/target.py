"""The TensorRT targets: plans of TensorRT and of TensorRT-RTX."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from fastrt.arrays import Shape
from fastrt.errors import EngineError, TargetError
from fastrt.ir.network import Network
from fastrt.passes.quantize import Placement
from fastrt.targets.base import BuildOptions, Layer, Mode, Runner, Target
from fastrt.targets.engine_info import EngineInfo, parse_info, read_info
from fastrt.targets.table import ROWS
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import Capabilities, Trt, find_capabilities
from fastrt.targets.tensorrt.execution_slot import Ports
from fastrt.targets.tensorrt.inspection import list_layers
from fastrt.targets.tensorrt.lowering import FEW
from fastrt.targets.tensorrt.messages import describe_error, make_logger
from fastrt.targets.tensorrt.plan import MARK, build_plan, find_description
from fastrt.targets.tensorrt.runner import TensorRtRunner

logger = logging.getLogger("fastrt")


class TensorRtTarget(Target, row=ROWS["tensorrt"]):
    """TensorRT 8.6 and later, on an NVIDIA GPU."""

    whole_up_to: ClassVar[float] = FEW
    placement: ClassVar[Placement] = Placement(
        unsigned=False, signed="int8", both_sides=False, pairs_in_int16=False, bias_in_int32=False
    )
    measures: ClassVar[bool] = True

    def precisions(self) -> tuple[str, ...]:
        return find_capabilities(self.name).precisions()

    def version(self) -> str:
        return find_capabilities(self.name).version

    def built_for(self, options: BuildOptions) -> str | None:
        return cuda.describe_device(0) if cuda.count_devices() else None

    def build(self, network: Network, path: Path, info: EngineInfo, options: BuildOptions) -> None:
        capabilities = find_capabilities(self.name)
        if self.name == "tensorrt" and cuda.count_devices() == 0:
            raise TargetError("tensorrt: no GPU on this host; expected the GPU that the engine is for. Build there.")
        path.write_bytes(build_plan(capabilities, network, info, options))

    def load(self, path: Path, device: str, intermediate: Collection[str] = (), mode: Mode = "latency") -> Runner:
        if intermediate:
            raise TargetError("tensorrt: plans have no intermediate outputs. Verify the embeddings, without --layers.")
        index = cuda.find_device(device)
        cuda.set_device(index)
        capabilities, engine = self._open(path, index)
        info, ports = _read_ports(capabilities, engine, self.name, path)
        here = cuda.describe_device(index)
        if self.measures and info.device not in (None, here):
            logger.warning("%s: tuned and checked on %s, and runs on %s: verify it here", path, info.device, here)
        return TensorRtRunner(capabilities, engine, info, ports, index)

    def describe(self, path: Path) -> EngineInfo:
        text = find_description(path.read_bytes())
        if text is not None:
            return parse_info(text, path)
        cuda.set_device(cuda.find_device("cuda:0"))
        capabilities, engine = self._open(path, 0)
        return _read_ports(capabilities, engine, self.name, path)[0]

    def layers(self, path: Path) -> list[Layer]:
        cuda.set_device(cuda.find_device("cuda:0"))
        capabilities, engine = self._open(path, 0)
        return list_layers(capabilities, engine)

    def _open(self, path: Path, device: int) -> tuple[Capabilities, Trt]:
        """Load the engine of a plan.

        Raises:
            EngineError: the plan is damaged, or for another version or GPU; the message says what to do.
        """
        capabilities = find_capabilities(self.name)
        trt = capabilities.trt
        logger = make_logger(trt)
        runtime = trt.Runtime(logger)
        plan = path.read_bytes()
        text = find_description(plan)
        info = None if text is None else parse_info(text, path)
        if info is not None and info.version_compatible:
            # The plan contains its version's lean runtime as code. The description shows that fastrt built it.
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            made = "an unknown TensorRT, or no plan"
            if info is not None:
                made = f"{info.built_with} for {info.device or 'any GPU'}"
            raise EngineError(
                f"{path}: a plan of {made}; expected one of {capabilities.version} for {cuda.describe_device(device)}"
                f" ({describe_error(logger.errors)}). Build it again here, or with --version-compatible or"
                " --hardware-compatible."
            )
        return capabilities, engine


class TensorRtRtxTarget(TensorRtTarget, row=ROWS["tensorrt-rtx"]):
    """TensorRT-RTX, for the GPUs of personal computers; it builds on hosts without a GPU."""

    measures: ClassVar[bool] = False
    builds_elsewhere: ClassVar[bool] = True


def _read_ports(capabilities: Capabilities, engine: Trt, target: str, path: Path) -> tuple[EngineInfo, Ports]:
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    mode = capabilities.trt.TensorIOMode
    inputs = [name for name in names if engine.get_tensor_mode(name) == mode.INPUT]
    outputs = [name for name in names if engine.get_tensor_mode(name) == mode.OUTPUT]
    described = [(name, _shape(engine, name), _dtype(capabilities, engine, name)) for name in inputs]
    title = engine.name or ""
    text = title.removeprefix(MARK) if title.startswith(MARK) else None
    info = read_info(text, target, path, described, [_shape(engine, name) for name in outputs])
    if (found := _dtype(capabilities, engine, outputs[0])) != "float32":
        raise EngineError(f"{path}: output {outputs[0]} in {found}; expected float32")
    return info, Ports(inputs[0], outputs[0], info)


def _shape(engine: Trt, name: str) -> Shape:
    return tuple(engine.get_tensor_shape(name))


def _dtype(capabilities: Capabilities, engine: Trt, name: str) -> str:
    kind = engine.get_tensor_dtype(name)
    known = {
        capabilities.trt.DataType.FLOAT: "float32",
        capabilities.trt.DataType.HALF: "float16",
        capabilities.trt.DataType.UINT8: "uint8",
    }
    return known.get(kind, str(kind))

"""Half asked for beside int8."""

from __future__ import annotations

from typing import ClassVar

from fastrt.network import Tensor
from fastrt.ops import InstanceNorm, Operation
from fastrt.targets.tensorrt.dialect import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class AskedForHalf(TensorRtLowering):
    """Beside int8, half is asked for all that operations of some kinds become."""

    asked: ClassVar[tuple[type[Operation], ...]] = (InstanceNorm,)

    def named(self, tensor: Tensor, value: Trt) -> Trt:
        if isinstance(tensor.operation, self.asked) and tensor.dtype == "float16":
            for layer in self._layers:
                if layer.type != self._trt.LayerType.CONSTANT:
                    layer.precision = self._trt.DataType.HALF
            self.bound = True
        return super().named(tensor, value)

"""Other layers for what follows the backbone: pooling, and the embedding's length."""

from __future__ import annotations

from fastrt.network import Tensor
from fastrt.ops import Clamp, Power
from fastrt.targets.tensorrt.dialect import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class Plain(TensorRtLowering):
    """Without the choice that makes one kernel of it."""

    def _at_least(self, low: float, x: Trt) -> Trt:
        return self._elementwise("MAX", x, self._scalar(low, x))


class Declared(TensorRtLowering):
    """Maps are declared to be in half, so that the kernel that takes the last of them reads no copies in float32."""

    def named(self, tensor: Tensor, value: Trt) -> Trt:
        kinds = self._trt.LayerType
        if tensor.dtype == "float16":
            for layer in self._layers:
                if layer.type in (kinds.CONVOLUTION, kinds.ELEMENTWISE, kinds.ACTIVATION, kinds.POOLING):
                    layer.set_output_type(0, self._trt.DataType.HALF)
        return super().named(tensor, value)


class Uncast(TensorRtLowering):
    """Without casts before GeM."""

    def clamp(self, op: Clamp, x: Trt) -> Trt:
        assert op.low is not None
        return self._elementwise("MAX", x, self._scalar(op.low, x))


class Poolings(Uncast):
    """GeM in half: powers of what is divided by the largest of its channel, so that none leaves half's range."""

    _largest: Trt

    def named(self, tensor: Tensor, value: Trt) -> Trt:
        half, self._half = self._half, self._half and not isinstance(tensor.operation, Clamp | Power)
        try:
            return super().named(tensor, value)
        finally:
            self._half = half

    def power(self, op: Power, x: Trt) -> Trt:
        if tuple(x.shape)[2:] == (1, 1):
            return self._elementwise("PROD", super().power(op, x), self._largest)
        self._largest = self._add("add_pooling_nd", x, self._trt.PoolingType.MAX, tuple(x.shape)[2:])
        return super().power(op, self._elementwise("DIV", x, self._largest))

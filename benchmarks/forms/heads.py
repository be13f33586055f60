"""Other layers for what follows the backbone: pooling, and the embedding's length."""

from __future__ import annotations

from fastrt.ir.network import Tensor
from fastrt.ir.ops import Clamp, Power, ReduceMean
from fastrt.targets.tensorrt.capabilities import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class Plain(TensorRtLowering):
    """Without the choice that makes one kernel of it."""

    def _at_least(self, low: float, x: Trt) -> Trt:
        return self._elementwise("MAX", x, self._scalar(low, x))


class Unfenced(TensorRtLowering):
    """What follows the last convolution is one kernel with its shortcut, however wide the map."""

    def _fence(self, x: Trt) -> Trt:
        return x


class FencedMean(TensorRtLowering):
    """A mean is kept from the last shortcut, as GeM in half is from that of a bottleneck."""

    def reduce_mean(self, op: ReduceMean, x: Trt) -> Trt:
        fenced = self._fence(self._add("add_cast", x, self._trt.DataType.HALF))
        return super().reduce_mean(op, self._add("add_cast", fenced, self._trt.DataType.FLOAT))


class FencedGem(TensorRtLowering):
    """GeM is kept from the last shortcut beside int8, too."""

    def clamp(self, op: Clamp, x: Trt) -> Trt:
        return super().clamp(op, self._fence(self._add("add_cast", x, self._trt.DataType.HALF)))


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

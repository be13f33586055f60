"""Other layers for non-local blocks."""

from __future__ import annotations

from fastrt.ops import Cast, ReduceMean
from fastrt.targets.tensorrt.dialect import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class Chosen(TensorRtLowering):
    """A choice stands between the mean and what it is multiplied with."""

    def reduce_mean(self, op: ReduceMean, x: Trt) -> Trt:
        return self._at_least(-1e30, super().reduce_mean(op, x))


class Uncast(TensorRtLowering):
    """The builder places the cast after the product."""

    def cast(self, op: Cast, x: Trt) -> Trt:
        return x if x.dtype == self._trt.DataType.FLOAT else super().cast(op, x)


class ChosenUncast(Chosen, Uncast):
    """Both."""

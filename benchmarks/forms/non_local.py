"""Other layers for non-local blocks."""

from __future__ import annotations

from fastrt.ops import ReduceMean
from fastrt.targets.tensorrt.dialect import Trt
from fastrt.targets.tensorrt.lowering import PIXELS, TensorRtLowering


class Plain(TensorRtLowering):
    """Without the choice that makes one kernel of it."""

    def reduce_mean(self, _: ReduceMean, x: Trt) -> Trt:
        return self._add("add_reduce", x, self._trt.ReduceOperation.AVG, PIXELS, True)

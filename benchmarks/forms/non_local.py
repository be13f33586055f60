"""Other layers for non-local blocks."""

from __future__ import annotations

from fastrt.targets.tensorrt.capabilities import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class Plain(TensorRtLowering):
    """Without the choice that makes one kernel of it."""

    def _at_least(self, _: float, x: Trt) -> Trt:
        return x

"""Collects the layer times that TensorRT reports."""

from __future__ import annotations

from fastrt.targets.tensorrt.capabilities import Trt


def make_profiler(trt: Trt) -> Trt:
    """Create a profiler; ``times`` maps a layer's name to its times in microseconds, one entry per run."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # the base class is known at run time only
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, name: str, ms: float) -> None:
            self.times.setdefault(name, []).append(1e3 * ms)

    return Profiler()

"""What TensorRT reports of the time that its layers take."""

from __future__ import annotations

from fastrt.targets.tensorrt.capabilities import Trt


def make_profiler(trt: Trt) -> Trt:
    """A profiler whose ``times`` are microseconds, a list for each layer by its name, one entry a run."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # the base class is known at run time only
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, name: str, ms: float) -> None:
            self.times.setdefault(name, []).append(1e3 * ms)

    return Profiler()

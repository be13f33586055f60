"""A loaded IR: a compiled model and its inference requests."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import starmap
from queue import Empty, LifoQueue
from statistics import median
from typing import Any

import numpy as np

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError
from fastrt.targets.base import LayerTime, Runner
from fastrt.targets.engine_info import EngineInfo

MAX_ISA = "ONEDNN_MAX_CPU_ISA"
"""The environment variable that limits the CPU's instructions."""


class OpenVinoRunner(Runner):
    """A compiled model; each calling thread takes its own inference request from a pool."""

    def __init__(self, compiled: Any, info: EngineInfo, names: list[str], compile_counting: Callable[[], Any]) -> None:
        super().__init__(compiled, info)
        self._names = names
        self._compile_counting = compile_counting
        self._idle: LifoQueue[Any] = LifoQueue()
        self._at_once = max(2, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
        if "INFERENCE_NUM_THREADS" in compiled.get_property("SUPPORTED_PROPERTIES"):
            self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))

    def run(self, batch: Array) -> Embeddings:
        return self._infer(batch)[0].reshape(len(batch), -1)

    def run_intermediate(self, batch: Array) -> Mapping[str, Array]:
        return dict(zip(self._names, self._infer(batch), strict=True))

    def run_all(self, batches: Iterable[Array], *, reused: bool = False) -> Iterator[Embeddings]:
        """Yield the embeddings of each batch in order; the mode determines how many batches run in parallel."""
        flying: deque[tuple[Any, Array]] = deque()
        try:
            for batch in batches:
                if len(flying) == self._at_once:
                    yield self._collect(flying)
                request, kept = self._take(), batch.copy() if reused else batch
                flying.append((request, kept))  # the batch must outlive the request
                request.start_async([kept], share_inputs=True)
            while flying:
                yield self._collect(flying)
        finally:
            for request, _ in flying:  # only after an error, or if the caller stops early
                with suppress(RuntimeError):
                    request.wait()
                self._idle.put(request)

    def time_layers(self, size: int, runs: int = 40) -> list[LayerTime]:
        """Time each layer by OpenVINO's performance counters; they are on only in a model that is compiled for this."""
        batch = self.draw_noise(size)
        self._infer(batch)  # fails as `run` does
        request = self._compile_counting().create_infer_request()
        request.infer([batch])
        rounds = []
        for _ in range(runs):
            request.infer([batch])
            rounds.append(request.profiling_info)

        def read(*nodes: Any) -> LayerTime:
            times = (1e6 * node.real_time.total_seconds() for node in nodes)
            return LayerTime(nodes[0].node_name, f"{nodes[0].node_type} {nodes[0].exec_type}", median(times))

        layers = starmap(read, zip(*rounds, strict=True))
        return [layer for layer in layers if layer.us > 0]  # the others are part of another layer, or take no time

    def _collect(self, flying: deque[tuple[Any, Array]]) -> Embeddings:
        request, batch = flying[0]
        try:
            request.wait()
            rows = np.array(request.output_tensors[0].data).reshape(len(batch), -1)
        except RuntimeError as error:
            raise _failed(batch, error) from error
        flying.popleft()
        self._idle.put(request)
        return rows

    def _infer(self, batch: Array) -> list[Array]:
        request = self._take()
        try:
            request.infer([batch], share_inputs=True)
            return [np.array(tensor.data) for tensor in request.output_tensors]
        except RuntimeError as error:
            raise _failed(batch, error) from error
        finally:
            self._idle.put(request)

    def _take(self) -> Any:
        compiled = self.engine
        try:
            return self._idle.get_nowait()
        except Empty:
            return compiled.create_infer_request()

    def close(self) -> None:
        super().close()
        self._idle = LifoQueue()


def _failed(batch: Array, error: Exception) -> EngineError:
    reason = find_reason(error)
    return EngineError(f"openvino: it failed on a batch of shape {batch.shape} ({reason}){_advise(reason)}")


def _advise(reason: str) -> str:
    """Say what OpenVINO lacks for the instance norms of IBN on a CPU without AVX2."""
    if "MVN" not in reason:
        return ""
    limit = os.environ.get(MAX_ISA)
    advice = f"Unset {MAX_ISA}, which is {limit}" if limit else "Build for another target, such as onnx"
    return f"; expected AVX2, which instance norms (IBN) need. {advice}."


def find_reason(error: Exception) -> str:
    """Return the last line of an openvino error, which states the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

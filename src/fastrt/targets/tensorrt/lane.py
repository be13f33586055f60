"""A lane: a stream with its buffers, and a captured graph for each size of batch that was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.dialect import Trt

logger = logging.getLogger("fastrt")


@dataclass(frozen=True)
class Ports:
    """An engine's input and output: names, sizes of one image's part in bytes, and the embedding's width."""

    input_name: str
    output_name: str
    input_bytes: int
    dimension: int
    input_shape: tuple[int, ...]

    @property
    def output_bytes(self) -> int:
        """Of one embedding, float32."""
        return 4 * self.dimension


@dataclass(frozen=True)
class Captured:
    """A batch size made ready: its context, which must outlive its graph, and the graph, if it could be captured."""

    context: Trt
    graph: cuda.Handle | None


class Lane:
    """Runs one batch at a time: copy in, compute, copy out, one after the other on one stream.

    Contexts share one scratch memory, as only one of them runs at a time.
    """

    def __init__(self, ports: Ports, longest: int, scratch: int, create_context: Callable[[int, Lane], Trt]) -> None:
        self.ports = ports
        self.stream = cuda.Stream()
        self.scratch = cuda.Buffer(scratch)
        self._staged = cuda.Pinned(longest * ports.input_bytes)
        self._images = cuda.Buffer(longest * ports.input_bytes)
        self._embeddings = cuda.Buffer(longest * ports.output_bytes)
        self._result = cuda.Pinned(longest * ports.output_bytes)
        self._rows = self._result.array((longest, ports.dimension), np.float32)
        self._create_context = create_context
        self._captured: dict[int, Captured] = {}

    def stage(self, batch: Array) -> int:
        """Copy a batch to page-locked memory of the lane's own; its address there."""
        self._staged.array((self._staged.size,), np.uint8)[: batch.nbytes] = batch.reshape(-1).view(np.uint8)
        return self._staged.pointer

    def submit(self, source: int, count: int, size: int) -> None:
        """Ask for the embeddings of ``count`` images at address ``source``, run as a batch of ``size``."""
        captured = self._captured.get(size) or self._capture(size)
        self.stream.copy(self._images.pointer, source, count * self.ports.input_bytes)
        if captured.graph is not None:
            self.stream.launch(captured.graph)
        else:
            self._run(captured.context, size)

    def collect(self, count: int) -> Embeddings:
        """Wait for what was submitted last; its embeddings, in memory of the caller's own."""
        self.stream.wait()
        return self._rows[:count].copy()

    def collect_on_device(self, destination: int, count: int) -> None:
        """The same, left on the GPU at ``destination``."""
        self.stream.copy(destination, self._embeddings.pointer, count * self.ports.output_bytes)
        self.stream.wait()

    def close(self) -> None:
        """Wait, and free everything. Twice does nothing."""
        if self.stream.handle is None:
            return
        self.stream.wait()
        for captured in self._captured.values():
            if captured.graph is not None:
                cuda.destroy_graph(captured.graph)
        self._captured.clear()
        for buffer in (self._images, self._embeddings, self.scratch):
            buffer.free()
        self.stream.close()

    def _capture(self, size: int) -> Captured:
        context = self._create_context(size, self)
        context.set_input_shape(self.ports.input_name, (size, *self.ports.input_shape))
        context.set_tensor_address(self.ports.input_name, self._images.pointer)
        context.set_tensor_address(self.ports.output_name, self._embeddings.pointer)
        self._run(context, size)  # the first run makes what later ones take for granted
        self.stream.wait()
        graph = self.stream.capture(lambda: self._enqueue(context, size))
        if graph is None:
            logger.warning("a batch of %d cannot be captured as a CUDA graph; it runs without, somewhat slower", size)
        self._captured[size] = Captured(context, graph)
        return self._captured[size]

    def _run(self, context: Trt, size: int) -> None:
        if not self._enqueue(context, size):
            raise EngineError(f"tensorrt cannot run a batch of {size}")

    def _enqueue(self, context: Trt, size: int) -> bool:
        if not context.execute_async_v3(int(self.stream.handle)):
            return False
        self.stream.copy(self._result.pointer, self._embeddings.pointer, size * self.ports.output_bytes)
        return True

"""An execution slot: a stream, its buffers, and a captured graph for each batch size in use."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import Trt

logger = logging.getLogger("fastrt")


class Ports:
    """An engine's input and output: names, bytes per image, and the embedding's dimension."""

    def __init__(self, input_name: str, output_name: str, info: EngineInfo) -> None:
        self.input_name = input_name
        self.output_name = output_name
        self.input_shape = info.input_shape
        self.input_bytes = math.prod(info.input_shape) * np.dtype(info.input_dtype).itemsize
        self.dimension = info.embedding_dim
        self.output_bytes = info.embedding_dim * np.dtype(np.float32).itemsize


@dataclass
class Captured:
    """A prepared batch size: its context, which must outlive its graph, and the graph, or None if capture failed.

    A graph for page-locked images begins with their copy. ``copied`` is its current source: address and byte count.
    """

    context: Trt
    graph: cuda.Graph | None
    copied: tuple[int, int]


class ExecutionSlot:
    """Runs one batch at a time on one stream: copy in, then compute.

    Contexts share one scratch memory, because only one of them runs at a time. The GPU writes embeddings for the host
    directly into page-locked memory, without a separate copy.
    """

    def __init__(
        self, ports: Ports, longest: int, scratch: int, create_context: Callable[[int, ExecutionSlot], Trt]
    ) -> None:
        self.ports = ports
        self.stream = cuda.Stream()
        self.scratch = cuda.Buffer(scratch)
        self._staged = cuda.Pinned(longest * ports.input_bytes)
        self._images = cuda.Buffer(longest * ports.input_bytes)
        self._embeddings = cuda.Buffer(longest * ports.output_bytes)
        self._result = cuda.Pinned(longest * ports.output_bytes)
        self._rows = self._result.array((longest, ports.dimension), np.float32)
        self._create_context = create_context
        self._captured: dict[tuple[int, bool, bool], Captured] = {}

    def stage(self, batch: Array) -> int:
        """Copy a batch to the slot's page-locked memory; return its address there."""
        self._staged.array((self._staged.size,), np.uint8)[: batch.nbytes] = batch.reshape(-1).view(np.uint8)
        return self._staged.pointer

    def submit(self, source: int, count: int, size: int, *, pinned: bool = False, stay: bool = False) -> None:
        """Enqueue inference for ``count`` images at address ``source``, as a batch of ``size``.

        With ``stay`` the embeddings remain on the GPU; collect them with `collect_on_device`. The graph itself copies
        images in ``pinned`` host memory, which costs less than a copy before it.
        """
        copied = source, count * self.ports.input_bytes
        captured = self._captured.get((size, stay, pinned)) or self._capture(size, stay, pinned, copied)
        if captured.graph is None or not pinned:
            self.stream.copy(self._images.pointer, *copied)
        elif captured.copied != copied:
            captured.graph.point_copy(self._images.pointer, *copied)
            captured.copied = copied
        if captured.graph is not None:
            self.stream.launch(captured.graph)
        else:
            _run(captured.context, self.stream, size)

    def collect(self, count: int) -> Embeddings:
        """Wait for the last submitted batch; return a copy of its embeddings."""
        self.stream.wait()
        return self._rows[:count].copy()

    def collect_on_device(self, destination: int, count: int) -> None:
        """Copy the embeddings of the last submitted batch to ``destination`` on the GPU, and wait."""
        self.stream.copy(destination, self._embeddings.pointer, count * self.ports.output_bytes)
        self.stream.wait()

    def prepare(self, size: int, *, stay: bool) -> Trt:
        """Create a context for batches of ``size`` and run it once: the first run initializes the context."""
        context = self._create_context(size, self)
        context.set_input_shape(self.ports.input_name, (size, *self.ports.input_shape))
        context.set_tensor_address(self.ports.input_name, self._images.pointer)
        context.set_tensor_address(self.ports.output_name, (self._embeddings if stay else self._result).pointer)
        self.run(context, size)
        return context

    def run(self, context: Trt, size: int) -> None:
        """Run a context on the current content of the slot's memory, and wait."""
        _run(context, self.stream, size)
        self.stream.wait()

    def close(self) -> None:
        """Wait, then free everything. A second call does nothing."""
        if self.stream.handle is None:
            return
        self.stream.wait()
        for captured in self._captured.values():
            if captured.graph is not None:
                captured.graph.destroy()
        self._captured.clear()
        for buffer in (self._images, self._embeddings, self.scratch):
            buffer.free()
        self.stream.close()

    def _capture(self, size: int, stay: bool, pinned: bool, copied: tuple[int, int]) -> Captured:
        other = self._captured.get((size, stay, not pinned))
        context = self.prepare(size, stay=stay) if other is None else other.context

        def work() -> bool:
            if pinned:
                self.stream.copy(self._images.pointer, *copied)
            return bool(context.execute_async_v3(int(self.stream.handle)))

        graph = self.stream.capture(work)
        if graph is None:
            logger.warning("a batch of %d cannot be captured as a CUDA graph; it runs slower without one", size)
        self._captured[size, stay, pinned] = Captured(context, graph, copied)
        return self._captured[size, stay, pinned]


def _run(context: Trt, stream: cuda.Stream, size: int) -> None:
    if not context.execute_async_v3(int(stream.handle)):
        raise EngineError(f"tensorrt: it failed to run a batch of {size}")

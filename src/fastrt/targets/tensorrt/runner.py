"""The runner of a loaded plan: selects the profile, pads the batch, and keeps two execution slots busy."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, LifoQueue
from typing import Generic, TypeVar

import numpy as np

from fastrt.arrays import Array, Embeddings, ReadyArray
from fastrt.errors import EngineError, ImageError
from fastrt.targets.base import LayerTime, Runner
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import Capabilities, Trt
from fastrt.targets.tensorrt.device_array import DeviceArray, DeviceView, view_array
from fastrt.targets.tensorrt.execution_slot import ExecutionSlot, Ports
from fastrt.targets.tensorrt.inspection import list_layers
from fastrt.targets.tensorrt.profiler import make_profiler

SLOTS = 2
"""Number of batches in flight: one is computed while the other is copied. A third gains nothing."""

STEPS = (4, 5, 6, 7)
"""Padded batch sizes, in quarters of a power of two: at most a fifth of a batch is padding."""


T = TypeVar("T")


@dataclass(frozen=True)
class Flight(Generic[T]):
    """A batch in an execution slot: a function that submits it, and a function that collects its result."""

    submit: Callable[[ExecutionSlot], None]
    collect: Callable[[ExecutionSlot], T]


class TensorRtRunner(Runner):
    """Runs a plan on one GPU. Threads share its execution slots; each slot runs one batch at a time."""

    def __init__(self, capabilities: Capabilities, engine: Trt, info: EngineInfo, ports: Ports, device: int) -> None:
        super().__init__(engine, info)
        self.device = device
        self._capabilities = capabilities
        self._ports = ports
        self._profiles = _profiles(engine, ports.input_name)
        self.batch = max(longest for _, _, longest in self._profiles)
        self._sizes = _sizes([(shortest, longest) for shortest, _, longest in self._profiles])
        self._idle: LifoQueue[ExecutionSlot | None] = LifoQueue()  # None: an execution slot not created yet
        for _ in range(SLOTS):
            self._idle.put(None)
        self._lock = threading.Lock()

    def run(self, batch: Array) -> Embeddings:
        with self._slot() as slot:
            self._submit(batch, slot)
            return slot.collect(len(batch))

    def run_all(self, batches: Iterable[Array], *, reused: bool = False) -> Iterator[Embeddings]:
        """Yield the embeddings of each batch in order; the next batch is prepared and copied during computation."""

        def flight(batch: Array) -> Flight[Embeddings]:
            return Flight(lambda slot: self._submit(batch, slot, reused=reused), lambda slot: slot.collect(len(batch)))

        return self._fly(map(flight, batches))

    def run_array(self, images: ReadyArray) -> Embeddings:
        view = self._view(images)
        rows = np.empty((view.shape[0], self._ports.dimension), np.float32)

        def collect(slot: ExecutionSlot, start: int, count: int) -> None:
            rows[start : start + count] = slot.collect(count)

        self._run_view(view, collect, stay=False)
        return rows

    def run_on_device(self, images: ReadyArray) -> DeviceArray:
        view = self._view(images)
        rows = DeviceArray((view.shape[0], self._ports.dimension), self.device)

        def collect(slot: ExecutionSlot, start: int, count: int) -> None:
            slot.collect_on_device(rows.pointer + start * self._ports.output_bytes, count)

        self._run_view(view, collect, stay=True)
        return rows

    def _view(self, images: ReadyArray) -> DeviceView:
        """Return a view of images, after checking shape and dtype."""
        cuda.set_device(self.device)
        view = view_array(images)
        shape, dtype = self.info.input_shape, self.info.input_dtype
        if view.shape[1:] != shape or view.dtype != dtype:
            raise ImageError(
                f"images: an array of shape {view.shape} {view.dtype};"
                f" expected (n, {', '.join(map(str, shape))}) {dtype}, as the engine takes"
            )
        if view.shape[0] == 0:
            raise ImageError("images: a batch of 0 images; expected at least one")
        return view

    def _run_view(self, view: DeviceView, collect: Callable[[ExecutionSlot, int, int], None], *, stay: bool) -> None:
        """Run the images of a view; ``collect`` takes a slot and its first row and number of rows."""

        def flight(start: int) -> Flight[None]:
            count = min(self.batch, view.shape[0] - start)
            source = view.pointer + start * self._ports.input_bytes
            return Flight(
                lambda slot: slot.submit(source, count, self._padded(count), stay=stay),
                lambda slot: collect(slot, start, count),
            )

        for _ in self._fly(map(flight, range(0, view.shape[0], self.batch))):
            pass

    def pinned(self, count: int) -> Array:
        """Allocate page-locked memory for ``count`` images, from which the GPU copies directly."""
        _ = self.engine  # refuses if closed
        cuda.set_device(self.device)
        shape = (count, *self.info.input_shape)
        return cuda.Pinned(count * self._ports.input_bytes).array(shape, self.info.input_dtype)

    def time_layers(self, size: int, runs: int = 40) -> list[LayerTime]:
        """Time each layer by TensorRT's profiler; its kind and format come from the engine inspector.

        The layers run one by one, without a CUDA graph, so their sum exceeds the time of a batch.
        """
        if not any(low <= size <= high for low, _, high in self._profiles):
            ranges = ", ".join(f"{low} to {high}" for low, _, high in self._profiles)
            raise EngineError(f"tensorrt: batch {size}; expected {ranges}. Time a batch that the engine takes.")
        profiler = make_profiler(self._capabilities.trt)
        with self._slot() as slot:
            kinds = {layer.name: layer.kind for layer in list_layers(self._capabilities, self.engine)}
            context = slot.prepare(size, stay=True)
            context.profiler = profiler
            for _ in range(runs):
                slot.run(context, size)
            del context
        return [LayerTime(name, kinds.get(name, ""), statistics.median(us)) for name, us in profiler.times.items()]

    def run_intermediate(self, batch: Array) -> Mapping[str, Array]:
        raise EngineError("tensorrt: plans have no intermediate outputs. Verify the embeddings, without --layers.")

    def close(self) -> None:
        with self._lock:
            if self._engine is None:
                return
            cuda.set_device(self.device)
            slots = [self._idle.get() for _ in range(SLOTS)]  # waits for running batches
            for slot in slots:
                if slot is not None:
                    slot.close()
            super().close()
            for _ in range(SLOTS):
                self._idle.put(None)  # wakes threads that wait for an execution slot; they find the engine closed

    @contextmanager
    def _slot(self) -> Iterator[ExecutionSlot]:
        slot = self._take(wait=True)
        assert slot is not None
        try:
            yield slot
        finally:
            self._idle.put(slot)

    def _take(self, *, wait: bool) -> ExecutionSlot | None:
        """Take an idle execution slot for the calling thread; without ``wait``, None if there is none."""
        try:
            slot = self._idle.get(block=wait)
        except Empty:
            return None
        try:
            engine = self.engine
            cuda.set_device(self.device)
            if slot is None:
                slot = ExecutionSlot(self._ports, self.batch, _scratch(engine), self._create_context)
        except BaseException:
            self._idle.put(slot)
            raise
        return slot

    def _fly(self, flights: Iterable[Flight[T]]) -> Iterator[T]:
        """Yield the result of each flight, in order; the next is prepared and copied during computation."""
        flying: deque[tuple[ExecutionSlot, Flight[T]]] = deque()
        try:
            for flight in flights:
                if len(flying) == SLOTS:
                    yield self._land(flying)
                # Waiting for other threads' slots while holding a slot could deadlock.
                slot = self._take(wait=not flying)
                while slot is None:
                    if flying:
                        yield self._land(flying)
                    slot = self._take(wait=not flying)
                flying.append((slot, flight))
                flight.submit(slot)
            while flying:
                yield self._land(flying)
        finally:
            for slot, _ in flying:  # only after an error, possibly from the stream itself
                with suppress(EngineError):
                    slot.stream.wait()
                self._idle.put(slot)

    def _land(self, flying: deque[tuple[ExecutionSlot, Flight[T]]]) -> T:
        slot, flight = flying[0]
        result = flight.collect(slot)
        flying.popleft()
        self._idle.put(slot)
        return result

    def _submit(self, batch: Array, slot: ExecutionSlot, *, reused: bool = False) -> None:
        """Submit a batch: from its own memory if page-locked and not ``reused``, otherwise from a copy in the slot."""
        source = slot.stage(batch) if reused or not cuda.is_pinned(batch) else batch.ctypes.data
        slot.submit(source, len(batch), self._padded(len(batch)), pinned=True)

    def _padded(self, count: int) -> int:
        return next(size for size in self._sizes if size >= count)

    def _create_context(self, size: int, slot: ExecutionSlot) -> Trt:
        profile = min(
            (i for i, (low, _, high) in enumerate(self._profiles) if low <= size <= high),
            key=lambda i: self._profiles[i][2],
        )
        context = _create_context(self._capabilities.trt, self.engine, slot.scratch)
        if context is None or not context.set_optimization_profile_async(profile, int(slot.stream.handle)):
            raise EngineError(
                f"tensorrt: it cannot create a context for a batch of {size}. Use one batch size: a plan of TensorRT 8"
                " from another tool may allow only one context."
            )
        slot.stream.wait()
        return context


def _profiles(engine: Trt, name: str) -> list[tuple[int, int, int]]:
    """List the smallest, best and largest batch of each optimisation profile."""
    fixed = engine.get_tensor_shape(name)[0]
    if fixed > 0:
        return [(fixed, fixed, fixed)]
    shapes = (engine.get_tensor_profile_shape(name, i) for i in range(engine.num_optimization_profiles))
    return [(low[0], best[0], high[0]) for low, best, high in shapes]


def _sizes(ranges: list[tuple[int, int]]) -> list[int]:
    """List the batch sizes that are run, ascending; other batches are padded up to the next size.

    >>> _sizes([(1, 1), (2, 8), (9, 32)])
    [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    """
    longest = max(high for _, high in ranges)
    sizes = {1, 2, 3, *(step << shift for shift in range(longest.bit_length()) for step in STEPS)}
    sizes |= {high for _, high in ranges}
    return sorted(size for size in sizes if any(low <= size <= high for low, high in ranges))


def _scratch(engine: Trt) -> int:
    size = getattr(engine, "device_memory_size_v2", None)
    return int(getattr(engine, "device_memory_size", 0) if size is None else size)


def _create_context(trt: Trt, engine: Trt, scratch: cuda.Buffer) -> Trt:
    """Create a context with ``scratch`` as its device memory."""
    if hasattr(trt, "ExecutionContextAllocationStrategy"):
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    else:
        context = engine.create_execution_context_without_device_memory()
    if context is not None:
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(scratch.pointer, scratch.size)
        else:
            context.device_memory = scratch.pointer
    return context

"""A fake CUDA runtime and TensorRT engine on the host, to test execution slots and runners without a GPU.

Device memory is host memory, streams execute calls immediately, and a captured graph is a list of calls. The engine's
embedding of an image is the sum of its pixels and the sum of its first row, which distinguishes images and rows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastrt.arrays import Array

SHAPE = (4, 3, 3)

Graph = list[Callable[[], None]]
Executable = dict[int, Callable[[], None]]
"""A graph's calls by the identity of their nodes."""


@dataclass(frozen=True, eq=False)
class Copy:
    """A copy of memory, also a graph's node."""

    destination: int
    source: int
    size: int

    def __call__(self) -> None:
        ctypes.memmove(self.destination, self.source, self.size)


class FakeRuntime:
    """The part of ``cuda.bindings.runtime`` that `fastrt.targets.tensorrt.cuda` uses."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.graphs: list[Graph] = []
        self.executables: list[Executable] = []
        self.capturing: Graph | None = None
        self.capturable = True
        self.pointed = 0
        self.launches = 0
        self.streams = 0
        self.cudaError_t = SimpleNamespace(cudaSuccess=0)
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyDefault=4)
        self.cudaGraphNodeType = SimpleNamespace(cudaGraphNodeTypeKernel=0, cudaGraphNodeTypeMemcpy=1)
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
        self.cudaHostAllocDefault = 0
        self.cudaStreamNonBlocking = 1

    def _call(self, work: Callable[[], None]) -> tuple[int]:
        if self.capturing is not None:
            self.capturing.append(work)
        else:
            work()
        return (0,)

    def cudaGetErrorString(self, _: int) -> tuple[int, bytes]:
        return 0, b"out of memory"

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return 0, 1

    def cudaSetDevice(self, _: int) -> tuple[int]:
        return (0,)

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        if size > 1 << 40:
            return 2, 0
        memory = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(memory)] = memory
        return 0, ctypes.addressof(memory)

    def cudaHostAlloc(self, size: int, _: int) -> tuple[int, int]:
        return self.cudaMalloc(size)

    def cudaFree(self, pointer: int) -> tuple[int]:
        del self.memory[pointer]
        return (0,)

    cudaFreeHost = cudaFree

    def cudaStreamCreateWithFlags(self, _: int) -> tuple[int, int]:
        self.streams += 1
        return 0, self.streams + 100

    def cudaStreamDestroy(self, _: int) -> tuple[int]:
        self.streams -= 1
        return (0,)

    def cudaStreamSynchronize(self, _: int) -> tuple[int]:
        return (0,)

    def cudaMemcpyAsync(self, destination: int, source: int, size: int, _kind: int, _stream: int) -> tuple[int]:
        return self._call(Copy(destination, source, size))

    def cudaStreamBeginCapture(self, _stream: int, _mode: int) -> tuple[int]:
        self.capturing = []
        return (0,)

    def cudaStreamEndCapture(self, _stream: int) -> tuple[int, Graph | None]:
        graph, self.capturing = self.capturing or [], None
        if not self.capturable:
            return 901, None
        self.graphs.append(graph)
        return 0, graph

    def cudaGetLastError(self) -> tuple[int]:
        return (0,)

    def cudaGraphInstantiate(self, graph: Graph, _: int) -> tuple[int, Executable]:
        self.executables.append({id(node): node for node in graph})
        return 0, self.executables[-1]

    def cudaGraphGetRootNodes(self, graph: Graph, count: int = 0) -> tuple[int, Graph, int]:
        return 0, graph[: min(count, 1)], 1

    def cudaGraphNodeGetType(self, node: object) -> tuple[int, int]:
        return 0, int(isinstance(node, Copy))

    def cudaGraphExecMemcpyNodeSetParams1D(
        self, executable: Executable, node: Copy, destination: int, source: int, size: int, _kind: int
    ) -> tuple[int]:
        assert any(node in graph for graph in self.graphs), "the node's graph is destroyed"
        assert id(node) in executable
        executable[id(node)] = Copy(destination, source, size)
        self.pointed += 1
        return (0,)

    def cudaGraphDestroy(self, graph: Graph) -> tuple[int]:
        self.graphs.remove(graph)
        return (0,)

    def cudaGraphExecDestroy(self, executable: Executable) -> tuple[int]:
        self.executables.remove(executable)
        return (0,)

    def cudaGraphLaunch(self, executable: Executable, _stream: int) -> tuple[int]:
        self.launches += 1
        for work in executable.values():
            work()
        return (0,)


class FakeEngine:
    """An engine with profiles; its contexts store the batch sizes that they ran."""

    def __init__(self, runtime: FakeRuntime, profiles: list[tuple[int, int, int]]) -> None:
        self.runtime = runtime
        self.profiles = profiles
        self.num_optimization_profiles = len(profiles)
        self.device_memory_size = 64
        self.contexts: list[FakeContext] = []

    def get_tensor_shape(self, _: str) -> tuple[int, ...]:
        return (-1, *SHAPE)

    def get_tensor_profile_shape(self, _: str, index: int) -> list[tuple[int, ...]]:
        return [(size, *SHAPE) for size in self.profiles[index]]

    def create_execution_context(self, _: object) -> FakeContext:
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.profile: int | None = None
        self.size = 0
        self.device_memory = 0

    def set_optimization_profile_async(self, profile: int, _stream: int) -> bool:
        self.profile = profile
        return True

    def set_input_shape(self, _: str, shape: tuple[int, ...]) -> None:
        low, _best, high = self.engine.profiles[self.profile or 0]
        assert low <= shape[0] <= high
        self.size = shape[0]

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, _stream: int) -> bool:
        def work() -> None:
            count = int(np.prod((self.size, *SHAPE)))
            images = _at(self.addresses["images"], np.uint8, count).reshape(self.size, *SHAPE).astype(np.float32)
            embeddings = _at(self.addresses["embedding"], np.float32, self.size * 2).reshape(self.size, 2)
            embeddings[:] = embed(images)

        self.engine.runtime._call(work)
        return True


def embed(images: Array) -> Array:
    """Compute the engine's embeddings."""
    return np.stack([images.sum((1, 2, 3)), images[:, 0].sum((1, 2))], 1).astype(np.float32)


def _at(address: int, dtype: type[np.generic], count: int) -> Array:
    buffer = (ctypes.c_ubyte * (count * np.dtype(dtype).itemsize)).from_address(address)
    return np.asarray(np.ctypeslib.as_array(buffer).view(dtype))

"""The part of the CUDA runtime that inference needs. Only this file imports cuda-bindings."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastrt.arrays import Array, Shape
from fastrt.errors import EngineError, TargetError

Handle = Any
"""An opaque cuda-bindings object: a stream, a graph or an event."""


@cache
def _runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError:
        raise TargetError("tensorrt: cuda-bindings is not installed. Run pip install 'fastrt[tensorrt]'.") from None
    return runtime


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime and return its results, without the error code.

    Raises:
        EngineError: the call failed; the message is CUDA's.
    """
    runtime = _runtime()
    error, *results = getattr(runtime, name)(*arguments)
    if error != runtime.cudaError_t.cudaSuccess:
        _, text = runtime.cudaGetErrorString(error)
        raise EngineError(f"{name} of CUDA failed: {_decode(text)}")
    return results[0] if len(results) == 1 else results


def count_devices() -> int:
    """Count the GPUs; 0 without a driver.

    Raises:
        TargetError: cuda-bindings is not installed.
    """
    runtime = _runtime()
    try:
        error, count = runtime.cudaGetDeviceCount()
    except RuntimeError:  # the driver's library is missing
        return 0
    return int(count) if error == runtime.cudaError_t.cudaSuccess else 0


def find_device(name: str) -> int:
    """Return the index in a device's name: ``cuda`` is 0, ``cuda:1`` is 1.

    Raises:
        TargetError: the name is not valid, or there is no such GPU.
    """
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not index.isdigit()) or name.endswith(":"):
        raise TargetError(f"tensorrt: device {name}; expected cuda:0, cuda:1 and so on")
    count = count_devices()
    if count == 0:
        raise TargetError("tensorrt: no CUDA device or no driver on this host; expected an NVIDIA GPU")
    if int(index or 0) >= count:
        raise TargetError(f"tensorrt: no {name} on this host; expected one of cuda:0 to cuda:{count - 1}")
    return int(index or 0)


def describe_device(index: int) -> str:
    """Return a GPU's name and compute capability: ``NVIDIA H100 80GB HBM3, sm90``."""
    properties = call("cudaGetDeviceProperties", index)
    return f"{_decode(properties.name)}, sm{properties.major}{properties.minor}"


def _decode(text: bytes | str) -> str:
    """Decode text of cuda-bindings, whose versions return bytes or strings."""
    return (text.decode() if isinstance(text, bytes) else text).strip("\0")


def set_device(index: int) -> None:
    """Select the GPU of the calling thread."""
    call("cudaSetDevice", index)


class Buffer:
    """Device memory of ``size`` bytes at ``pointer``, freed by `free` or with the object."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pointer: int = int(call("cudaMalloc", max(size, 1)))

    def free(self) -> None:
        """Free the memory. A second call does nothing."""
        if self.pointer:
            pointer, self.pointer = self.pointer, 0
            call("cudaFree", pointer)

    def __del__(self) -> None:
        if getattr(self, "pointer", 0):
            self.free()


class Pinned:
    """Page-locked host memory of ``size`` bytes at ``pointer`` that the GPU can access directly.

    Its arrays keep it alive; it is freed with the last of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pointer: int = int(call("cudaHostAlloc", max(size, 1), _runtime().cudaHostAllocDefault))

    def array(self, shape: Shape, dtype: Any) -> Array:
        """Return the memory as an array."""
        buffer = (ctypes.c_ubyte * self.size).from_address(self.pointer)
        buffer.owner = self  # type: ignore[attr-defined]  # a ctypes array takes attributes
        return np.asarray(np.ctypeslib.as_array(buffer).view(dtype).reshape(shape))

    def __del__(self) -> None:
        if getattr(self, "pointer", 0):
            pointer, self.pointer = self.pointer, 0
            call("cudaFreeHost", pointer)


def is_pinned(array: Array) -> bool:
    """Return True if an array is in memory allocated by `Pinned`."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    return isinstance(getattr(owner, "owner", None), Pinned)


class Graph:
    """A captured graph, instantiated for `Stream.launch`."""

    def __init__(self, captured: Handle) -> None:
        self._captured = captured  # its nodes identify the executable's nodes
        self._copy: Handle | None = None
        self.executable: Handle = call("cudaGraphInstantiate", captured, 0)

    def point_copy(self, destination: int, source: int, size: int) -> None:
        """Change the graph's first copy, from the next launch on."""
        if self._copy is None:
            self._copy = self._find_copy()
        kind = _runtime().cudaMemcpyKind.cudaMemcpyDefault
        call("cudaGraphExecMemcpyNodeSetParams1D", self.executable, self._copy, destination, source, size, kind)

    def destroy(self) -> None:
        """Free the graph. A second call does nothing."""
        if self.executable is not None:
            executable, self.executable = self.executable, None
            call("cudaGraphExecDestroy", executable)
            call("cudaGraphDestroy", self._captured)

    def _find_copy(self) -> Handle:
        copy = _runtime().cudaGraphNodeType.cudaGraphNodeTypeMemcpy
        _, count = call("cudaGraphGetRootNodes", self._captured)
        roots, _ = call("cudaGraphGetRootNodes", self._captured, count)
        for node in roots:  # TensorRT may add other copies, but not as roots
            if call("cudaGraphNodeGetType", node) == copy:
                return node
        raise EngineError("internal error: a captured CUDA graph does not begin with its first copy")


class Stream:
    """A non-blocking stream: it does not wait for the default stream."""

    def __init__(self) -> None:
        self.handle: Handle = call("cudaStreamCreateWithFlags", _runtime().cudaStreamNonBlocking)

    def copy(self, destination: int, source: int, size: int) -> None:
        """Enqueue a copy of ``size`` bytes between any two addresses, in stream order."""
        call("cudaMemcpyAsync", destination, source, size, _runtime().cudaMemcpyKind.cudaMemcpyDefault, self.handle)

    def wait(self) -> None:
        """Wait until all work on the stream is done."""
        call("cudaStreamSynchronize", self.handle)

    def capture(self, work: Callable[[], bool]) -> Graph | None:
        """Capture the stream operations of ``work()`` as a graph for `launch`; None if capture fails."""
        runtime = _runtime()
        call("cudaStreamBeginCapture", self.handle, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            captured = work()
        finally:
            error, graph = runtime.cudaStreamEndCapture(self.handle)
        if not captured or error != runtime.cudaError_t.cudaSuccess:
            runtime.cudaGetLastError()
            return None
        return Graph(graph)

    def launch(self, graph: Graph) -> None:
        """Launch a graph on this stream."""
        call("cudaGraphLaunch", graph.executable, self.handle)

    def close(self) -> None:
        """Destroy the stream. A second call does nothing."""
        if self.handle is not None:
            handle, self.handle = self.handle, None
            call("cudaStreamDestroy", handle)


def wait_for_stream(handle: int) -> None:
    """Wait until all work on another library's stream is done; ``handle`` is its address."""
    call("cudaStreamSynchronize", handle)

"""Base classes of targets: a target lowers a network to a runtime's tensors, builds an engine file and runs it."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from fastrt.arrays import Array, DeviceEmbeddings, Embeddings, ReadyArray, Shape
from fastrt.errors import EngineError, ImageError, TargetError
from fastrt.ir.network import Network, Tensor
from fastrt.passes.quantize import Placement
from fastrt.signatures import check_fields
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.table import Row

Value = TypeVar("Value")

Mode = Literal["latency", "throughput"]
"""The goal of an engine at load: lowest time per batch, or most images per second."""


OUT_OF_MEMORY = re.compile(r"cannot allocate memory|bad.?alloc|failed to allocate|out of memory", re.IGNORECASE)
"""Messages of runtimes without memory."""


class Lowering(Generic[Value]):
    """Lowers a network to values of a runtime, one operation at a time.

    A subclass has one method per operation, named after the operation's kind. The method takes the operation and the
    values of its inputs, and returns its value. An operation without a method raises an error that names it.
    """

    target: ClassVar[str]
    exact: bool = False
    """The ``exact`` mark of the current tensor; see `Tensor`."""

    def named(self, tensor: Tensor, value: Value) -> Value:
        """Give ``value`` the tensor's name."""
        return value

    def lower(self, network: Network) -> Iterator[tuple[Tensor, Value]]:
        """Yield each tensor with its value, in order. Frees a value after its last use.

        The call itself checks all operations, before it lowers any.

        Raises:
            TargetError: the target cannot lower an operation.
        """
        for tensor in network:
            kind = tensor.operation.kind
            if not hasattr(self, kind):
                raise TargetError(f"{self.target}: it cannot lower {kind}, which computes {tensor.name}")
        return self._lower(network)

    def _lower(self, network: Network) -> Iterator[tuple[Tensor, Value]]:
        last_use = {name: tensor.name for tensor in network for name in tensor.inputs}
        values: dict[str, Value] = {}
        for tensor in network:
            self.exact = tensor.exact
            method: Callable[..., Value] = getattr(self, tensor.operation.kind)
            value = self.named(tensor, method(tensor.operation, *(values[name] for name in tensor.inputs)))
            values[tensor.name] = value
            yield tensor, value
            del value
            for name in set(tensor.inputs):
                if last_use[name] == tensor.name:
                    del values[name]


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build.

    Attributes:
        batches: the largest batch of each range that the engine is tuned for, ascending; empty for a target without
            batch-size tuning.
        version_compatible: later versions of the runtime can load the engine.
        hardware_compatible: other GPUs of the same or a newer architecture can load the engine.
        compute_capabilities: the compute capabilities to build for, such as ``sm89``, if not the host's GPU.
        timing_cache: file of kernel timings from earlier builds, read and written; None: no cache.
        progress: called with a phase's name, steps done and total steps.

    Raises:
        TargetError: an attribute that is True or False has another type.
    """

    batches: tuple[int, ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()
    timing_cache: Path | None = None
    progress: Callable[[str, int, int], None] | None = None

    def __post_init__(self) -> None:
        check_fields(self, TargetError, "version_compatible", "hardware_compatible")


@dataclass(frozen=True)
class Layer:
    """One layer of an engine file, as its runtime reports it; ``shape`` per image."""

    name: str
    kind: str
    shape: Shape


@dataclass(frozen=True)
class LayerTime:
    """Time of one layer for one batch: the median in microseconds; ``kind`` as the runtime names it."""

    name: str
    kind: str
    us: float


class Runner(ABC):
    """A loaded engine that computes embeddings of batches. Thread-safe.

    Attributes:
        info: the engine's description.
        batch: preferred batch size, used unless the caller sets one.
        threads: number of CPU threads that compute a batch, if the runtime reports it.
    """

    batch: int = 8  # on CPUs larger batches gain nothing and use more memory
    threads: int | None = None

    def __init__(self, engine: Any, info: EngineInfo) -> None:
        self.info = info
        self._engine: Any | None = engine

    @property
    def engine(self) -> Any:
        """The runtime's own object.

        Raises:
            EngineError: the runner is closed.
        """
        if self._engine is None:
            raise EngineError("the session is closed; load the engine again")
        return self._engine

    @abstractmethod
    def run(self, batch: Array) -> Embeddings:
        """Compute the embeddings ``(n, D)`` float32 of a batch in the engine's input profile, ``n`` at least 1."""

    def run_all(self, batches: Iterable[Array], *, reused: bool = False) -> Iterator[Embeddings]:
        """Yield the embeddings of each batch, in order.

        With ``reused``, the memory of a batch may be overwritten as soon as the next is requested. Without, it stays
        unchanged until the batch is done.
        """
        return map(self.run, batches)

    def run_array(self, images: ReadyArray) -> Embeddings:
        """Compute the embeddings of images ``(n, ...)`` in host or GPU memory, ``n`` of any size.

        Raises:
            ImageError: the engine does not run on a GPU, or the images do not fit it.
        """
        raise ImageError(
            f"images: {type(images).__name__} for {self.info.target}, which runs on the CPU; expected NumPy arrays."
            " Convert a tensor: images.cpu().numpy()."
        )

    def run_on_device(self, images: ReadyArray) -> DeviceEmbeddings:
        """Compute embeddings as `run_array` does, and leave them in GPU memory."""
        raise ImageError(f"images: {self.info.target} runs on the CPU; expected an engine on a GPU. Call the session.")

    def pinned(self, count: int) -> Array:
        """Allocate memory for ``count`` images in the engine's input profile, with the fastest copy to the engine."""
        return np.empty((count, *self.info.input_shape), self.info.input_dtype)

    def time_layers(self, size: int, runs: int = 40) -> list[LayerTime]:
        """Time each layer for a batch of ``size`` in ``runs`` runs, in order of execution.

        Raises:
            EngineError: the runtime does not report layer times, or the engine does not take such a batch.
        """
        raise EngineError(
            f"{self.info.target}: no layer times; expected an engine of openvino, onnx or tensorrt. Build one."
        )

    def draw_noise(self, size: int) -> Array:
        """Draw ``size`` images of noise in the engine's input profile."""
        noise = self.pinned(size)
        noise[:] = np.random.default_rng(0).integers(0, 256, noise.shape)
        return noise

    @abstractmethod
    def run_intermediate(self, batch: Array) -> Mapping[str, Array]:
        """Return the intermediate outputs for a batch, ``(n, ...)`` each, by the names given to `Target.load`."""

    def close(self) -> None:
        """Free the runner's resources; it cannot run afterwards. A second call does nothing."""
        self._engine = None


class Target(ABC):
    """One runtime. A subclass passes its row of the table: ``class OnnxTarget(Target, row=ROWS["onnx"])``.

    Attributes:
        row: the target's properties that are known without its runtime.
        name, strongly_typed, batches, device: as in the row.
        suffix: the first of the row's suffixes.
        whole_up_to: largest batch for which one convolution before slices of its channels is faster than one per slice.
        placement: the Q/DQ pairs that the runtime requires.
        measures: whether the runtime auto-tunes kernels, so that two builds may differ.
        builds_elsewhere: whether a host that cannot run the engine can build it.
    """

    row: ClassVar[Row]
    name: ClassVar[str]
    suffix: ClassVar[str]
    strongly_typed: ClassVar[bool]
    batches: ClassVar[tuple[int, ...]]
    device: ClassVar[str]
    whole_up_to: ClassVar[float] = math.inf
    placement: ClassVar[Placement]
    measures: ClassVar[bool] = False
    builds_elsewhere: ClassVar[bool] = False

    def __init_subclass__(cls, row: Row) -> None:
        cls.row = row
        cls.name, cls.suffix = row.name, row.suffixes[0]
        cls.strongly_typed, cls.batches, cls.device = row.strongly_typed, row.batches, row.device

    def precisions(self) -> Sequence[str]:
        """List the precisions available on this host, widest first; raises if the runtime is not installed."""
        return self.row.precisions

    @abstractmethod
    def version(self) -> str:
        """Return the runtime and its version: ``openvino 2026.4.1``."""

    def built_for(self, options: BuildOptions) -> str | None:
        """Return the device that an engine built now is bound to; None if it is not bound to one."""
        return None

    @abstractmethod
    def build(self, network: Network, path: Path, info: EngineInfo, options: BuildOptions) -> None:
        """Write an engine file with ``info``; the caller makes the file and its companions appear atomically."""

    @abstractmethod
    def load(self, path: Path, device: str, intermediate: Collection[str] = (), mode: Mode = "latency") -> Runner:
        """Load an engine file.

        ``intermediate`` names tensors to make readable as outputs, which is slower; names that the engine lacks are
        ignored. A target without modes ignores ``mode``.

        Raises:
            EngineError: the file is not an engine of this runtime, or is damaged.
            TargetError: the runtime or the device is not available.
        """

    @abstractmethod
    def describe(self, path: Path) -> EngineInfo:
        """Read the description of an engine file, without loading it for inference."""

    @abstractmethod
    def layers(self, path: Path) -> list[Layer]:
        """List the layers of an engine file, in order."""


def cannot_read(path: Path, what: str, error: Exception, reason: str | None = None) -> EngineError:
    """Make the error of an engine file that a runtime cannot read: for lack of memory, or because it is damaged.

    Args:
        path: the file.
        what: the expected file: ``an ONNX engine``.
        error: the runtime's error.
        reason: the part of its message that states the reason; None for all of it.
    """
    reason = str(error) if reason is None else reason
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(reason):
        reason = f" ({reason})" if reason else ""
        return EngineError(f"{path}: out of memory{reason}; expected more free memory. Free memory.")
    return EngineError(f"{path}: not {what}, or damaged ({reason}). Build it again.")


def refuse_precision(target: Target, precision: str) -> None:
    """Raise `TargetError` if ``target`` cannot compute in ``precision`` on this host."""
    if precision not in target.precisions():
        known = ", ".join(target.precisions())
        raise TargetError(f"{target.name}: it cannot compute in {precision} on this host; expected one of {known}")

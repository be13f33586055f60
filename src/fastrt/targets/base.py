"""What a target is: it lowers a network to a runtime's own tensors, builds a file of them, and runs the file."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from fastrt.arrays import Array, Embeddings, Shape
from fastrt.errors import EngineError, ImageError, TargetError
from fastrt.ir.network import Network, Tensor
from fastrt.passes.quantize import Placement
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.table import Row

Value = TypeVar("Value")

Mode = Literal["latency", "throughput"]
"""What an engine is loaded for: each batch as soon as can be, or as many images a second as can be."""


class Lowering(Generic[Value]):
    """Turns a network into values of a runtime, an operation at a time.

    A subclass has one method for each operation, named by the operation's kind, that takes the operation and the values
    of its inputs, and returns its value. An operation without a method is refused by name.
    """

    target: ClassVar[str]
    exact: bool = False
    """The mark of the tensor that is being lowered; see `Tensor`."""

    def named(self, tensor: Tensor, value: Value) -> Value:
        """``value`` under the tensor's name."""
        return value

    def lower(self, network: Network) -> Iterator[tuple[Tensor, Value]]:
        """Yield each tensor with its value, in order. A value that no later tensor takes is freed.

        The call itself checks all operations, before anything is lowered.

        Raises:
            TargetError: the target has no way to lower an operation.
        """
        methods = {tensor.name: self._find_method(tensor) for tensor in network}
        return self._lower(network, methods)

    def _find_method(self, tensor: Tensor) -> Callable[..., Value]:
        method: Callable[..., Value] | None = getattr(self, tensor.operation.kind, None)
        if method is None:
            raise TargetError(f"{self.target} cannot lower {tensor.operation.kind}, which makes {tensor.name}")
        return method

    def _lower(self, network: Network, methods: Mapping[str, Callable[..., Value]]) -> Iterator[tuple[Tensor, Value]]:
        last_use = {name: tensor.name for tensor in network for name in tensor.inputs}
        values: dict[str, Value] = {}
        for tensor in network:
            self.exact = tensor.exact
            arguments = (values[name] for name in tensor.inputs)
            value = self.named(tensor, methods[tensor.name](tensor.operation, *arguments))
            values[tensor.name] = value
            yield tensor, value
            del value
            for name in set(tensor.inputs):
                if last_use[name] == tensor.name:
                    del values[name]


@dataclass(frozen=True)
class BuildOptions:
    """What a build may be told beside the network.

    Attributes:
        batches: the largest batch of each range that the engine is tuned for, ascending; empty for a target whose
            engines take any batch alike.
        version_compatible: later versions of the runtime can load the engine.
        hardware_compatible: other GPUs can, of the same kind or newer.
        compute_capabilities: the GPUs that it is for, ``sm89``, where that is not the one at hand.
        timing_cache: what was measured at earlier builds, read and written; None for neither.
        progress: called with a phase's name, steps done and steps in all.
    """

    batches: tuple[int, ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()
    timing_cache: Path | None = None
    progress: Callable[[str, int, int], None] | None = None


@dataclass(frozen=True)
class Layer:
    """One layer of an engine file, as its runtime has it; ``shape`` per image."""

    name: str
    kind: str
    shape: Shape


class Runner(ABC):
    """A loaded engine: batches in, embeddings out. Safe to call from several threads.

    Attributes:
        info: what the engine says of itself.
        batch: how many images it had best run at once, unless the caller says otherwise.
        threads: by how many threads of the CPU batches are computed, where the runtime says.
    """

    info: EngineInfo
    batch: int = 8  # on CPUs larger batches gain nothing and hold more memory
    threads: int | None = None

    @abstractmethod
    def run(self, batch: Array) -> Embeddings:
        """Embeddings ``(n, D)`` float32 of a batch in the engine's input profile, ``n`` at least 1."""

    def run_all(self, batches: Iterable[Array]) -> Iterator[Embeddings]:
        """The embeddings of each batch, in turn."""
        return map(self.run, batches)

    def run_on_device(self, images: Any, *, stay: bool) -> Any:
        """The embeddings of images that may lie on a GPU already; with ``stay``, left there."""
        raise ImageError(f"{self.info.target} runs on the CPU and takes no arrays of a GPU; give NumPy arrays")

    def pinned(self, count: int) -> Array:
        """Memory for ``count`` images in the engine's input profile, from where they reach the engine soonest."""
        height, width = self.info.image_size
        if self.info.io == "u8_nhwc_bgr":
            return np.empty((count, height, width, 3), np.uint8)
        return np.empty((count, 3, height, width), np.float32)

    def time_layers(self, size: int, runs: int = 40) -> dict[str, float]:
        """Microseconds of each layer for a batch of ``size``, in order, by the runtime's names: medians of ``runs``."""
        raise EngineError(f"{self.info.target} does not time layers here; engines of tensorrt do")

    @abstractmethod
    def run_tapped(self, batch: Array) -> Mapping[str, Array]:
        """The named tensors inside the engine for a batch, ``(n, ...)`` each; only of an engine loaded with taps."""

    @abstractmethod
    def close(self) -> None:
        """Free what the runner holds; it cannot run any more. Closing twice does nothing."""


class Target(ABC):
    """One runtime. A subclass names its row of the table: ``class OnnxTarget(Target, row=ROWS["onnx"])``.

    Attributes:
        row: all that is known of the target without its runtime.
        name, typed, batches, device: as in the row.
        suffix: the first of the row's suffixes.
        whole_up_to: images in a batch up to which one convolution before an IBN-a is faster than one for each half.
        placement: how it wants its Q/DQ pairs.
        measures: whether it chooses what an engine is made of by measuring, so that no two builds need be alike.
        builds_elsewhere: whether engines are built on hosts that need not be able to run them.
    """

    row: ClassVar[Row]
    name: ClassVar[str]
    suffix: ClassVar[str]
    typed: ClassVar[bool]
    batches: ClassVar[tuple[int, ...]]
    device: ClassVar[str]
    whole_up_to: ClassVar[float] = math.inf
    placement: ClassVar[Placement]
    measures: ClassVar[bool] = False
    builds_elsewhere: ClassVar[bool] = False

    def __init_subclass__(cls, row: Row) -> None:
        cls.row = row
        cls.name, cls.suffix = row.name, row.suffixes[0]
        cls.typed, cls.batches, cls.device = row.typed, row.batches, row.device

    @abstractmethod
    def precisions(self) -> Sequence[str]:
        """The precisions that it computes in on this machine, widest first; raises if its runtime is not installed."""

    @abstractmethod
    def version(self) -> str:
        """The runtime and its version: ``openvino 2026.4.1``."""

    def built_for(self, options: BuildOptions) -> str | None:
        """The device that an engine built now would be bound to; None if to none."""
        return None

    @abstractmethod
    def build(self, network: Network, path: Path, info: EngineInfo, options: BuildOptions) -> None:
        """Write an engine file that carries ``info``; the caller makes it, and what stands beside it, appear whole."""

    @abstractmethod
    def load(self, path: Path, device: str, taps: bool | Collection[str] = False, mode: Mode = "latency") -> Runner:
        """A runner of an engine file; with ``taps``, every named tensor can be read (slower), or those of these names.

        A target that has but one way of running is in that for either ``mode``.

        Raises:
            EngineError: the file is not one of this runtime's, or is damaged.
            TargetError: the runtime or the device is not there.
        """

    @abstractmethod
    def describe(self, path: Path) -> EngineInfo:
        """What an engine file says of itself, without loading it for inference."""

    @abstractmethod
    def layers(self, path: Path) -> list[Layer]:
        """The layers of an engine file, in order."""


def refuse_precision(target: Target, precision: str) -> None:
    """Raise `TargetError` if ``target`` cannot compute in ``precision`` on this machine."""
    if precision not in target.precisions():
        known = ", ".join(target.precisions())
        raise TargetError(
            f"{target.name} on this machine computes in {known}, not in {precision}; build with one of those"
        )

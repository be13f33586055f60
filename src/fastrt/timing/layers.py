"""Times the layers of one engine, as its runtime reports them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastrt.engine.load import open_runner
from fastrt.engine.numbers import check_count
from fastrt.targets.base import LayerTime


@dataclass(frozen=True)
class KindTime:
    """Time of all layers of one kind: how many they are, and their sum in microseconds."""

    kind: str
    layers: int
    us: float


def time_layers(engine: Path, batch: int | None = None, device: str | None = None) -> tuple[int, list[LayerTime]]:
    """Time each layer of an engine.

    Args:
        engine: an engine file of a runtime that reports layer times.
        batch: images per batch; None for the engine's preferred batch size.
        device: device to run on; the target's default if None.

    Returns:
        The batch size and the layers in order of execution. Measuring slows each layer down, so their sum exceeds the
        latency of a batch.

    Raises:
        EngineError: the file is not an engine, its runtime reports no times, or it does not take such a batch.
        TargetError: the runtime or the device is not available.
    """
    size = None if batch is None else check_count(batch, "layer times: batch")
    runner = open_runner(engine, device)
    try:
        size = size or runner.batch
        return size, runner.time_layers(size)
    finally:
        runner.close()


def sum_by_kind(layers: Iterable[LayerTime]) -> list[KindTime]:
    """Sum the times of the layers of each kind, the longest first.

    >>> sum_by_kind([LayerTime("a", "Relu", 1.0), LayerTime("b", "Conv", 2.0), LayerTime("c", "Conv", 3.0)])
    [KindTime(kind='Conv', layers=2, us=5.0), KindTime(kind='Relu', layers=1, us=1.0)]
    """
    times: dict[str, list[float]] = {}
    for layer in layers:
        times.setdefault(layer.kind, []).append(layer.us)
    kinds = (KindTime(kind, len(values), sum(values)) for kind, values in times.items())
    return sorted(kinds, key=lambda kind: -kind.us)

"""Which convolutions a device computes no sooner in eight bits than in half: those stay in half.

Eight bits are fewer bytes and fewer steps, but a small feature map gives a GPU too little to do for that to show, and
what lies between eight bits and half must be converted. So it is measured, layer by layer, and then as a whole: a
convolution that is slow by itself may still be the cheaper neighbour.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fastrt.engine.load import load, open_runner
from fastrt.ir.network import Network
from fastrt.ir.ops import Slice
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_convolutions
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.registry import find_target
from fastrt.timing.interleaved import compare_speed

NOISE = 1.05
"""How many times as long a convolution must take in eight bits to be called slower."""

COPY = re.compile(r"^Reformatting CopyNode for \w+ Tensor \d+ to ")
"""What TensorRT puts before a layer's name for a copy that it made for the layer's sake."""

HALF, INT8, MIXED = "fp16", "int8", "int8, the slower ones in fp16"


class Build(Protocol):
    """Builds an engine of the network at hand, for the batches that count."""

    def __call__(self, path: Path, precision: Precision, kept: Collection[str]) -> EngineInfo:
        """Build ``path`` in a precision, ``kept`` being convolutions that stay in floating point."""


@dataclass(frozen=True)
class Pace:
    """What was measured.

    Attributes:
        kept: convolutions that stay in floating point, now that it is known how fast they are.
        slower: those that are slower in eight bits by themselves.
        fastest: which engine was, of those of ``images_s``.
        images_s: images a second by batch of each engine that was tried.
    """

    kept: tuple[str, ...]
    slower: tuple[str, ...]
    fastest: str
    images_s: dict[str, dict[int, float]]

    def __str__(self) -> str:
        rates = "; ".join(
            f"{name}: " + ", ".join(f"{rate:.0f} images/s at batch {batch}" for batch, rate in row.items())
            for name, row in self.images_s.items()
        )
        fastest = "fp16, so no convolution is in int8" if self.fastest == HALF else self.fastest
        return f"slower in int8 by themselves: {', '.join(self.slower) or 'none'}; fastest is {fastest} ({rates})"


def keep_slower(
    network: Network,
    target: str,
    kept: Collection[str],
    build: Build,
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> Pace:
    """What to keep from eight bits, so that no batch pays for it.

    Args:
        network: what `fastrt.build_network` made.
        target: one whose runner can time its layers.
        kept: what stays in floating point anyway.
        build: makes an engine; all batches that it is tuned for count alike.
        advance: called with what is being done, steps done and steps in all.

    Returns:
        ``kept`` and the convolutions that are slower, if the engine is faster with them; all convolutions, if it is
        fastest with none in eight bits.
    """
    names = own_names(network)
    with tempfile.TemporaryDirectory() as folder:
        suffix = find_target(target).suffix
        paths = {HALF: Path(folder) / f"half{suffix}", INT8: Path(folder) / f"int8{suffix}"}
        batches = build(paths[HALF], "fp16", ()).batches or ()
        advance("measuring layers", 1, 3)
        build(paths[INT8], "int8", kept)
        advance("measuring layers", 2, 3)
        half, int8 = (_time_convolutions(path, batches, names) for path in paths.values())
        slower = tuple(name for name in find_slower(half, int8) if name not in kept)
        choices: dict[str, tuple[str, ...]] = {INT8: tuple(kept)}
        if slower:
            choices[MIXED] = (*kept, *slower)
            paths[MIXED] = Path(folder) / f"mixed{suffix}"
            build(paths[MIXED], "int8", choices[MIXED])
        choices[HALF] = tuple(list_convolutions(fold_scales(network)))
        advance("measuring layers", 3, 3)
        sessions = {name: load(path) for name, path in paths.items()}
        try:
            images = np.random.default_rng(0).integers(0, 256, (1, *network.input.shape[1:], 3)).astype(np.uint8)
            rates = compare_speed(sessions, images, advance, batches)
        finally:
            for session in sessions.values():
                session.close()
    # Of equals the one with more in eight bits: it comes first.
    fastest = max(choices, key=lambda name: sum(rates[name][batch] / rates[HALF][batch] for batch in batches))
    return Pace(choices[fastest], slower, fastest, rates)


def own_names(network: Network) -> dict[str, str]:
    """The convolutions that can be in eight bits, by the names that they have in engines.

    Where an engine has a convolution for each half of an IBN-a (`fastrt.passes.instance_norm`), each bears its slice's
    name.
    """
    folded = fold_scales(network)
    consumers = folded.consumers()
    names = {}
    for name in list_convolutions(folded):
        names[name] = name
        slices = [other.name for other in consumers[name] if isinstance(other.operation, Slice)]
        names.update(dict.fromkeys(slices, name))
    return names


def attribute(times: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    """Microseconds of each convolution, copies for its sake counted in.

    Args:
        times: by the engine's layers, each named by the tensors that it makes, joined by `` + ``.
        names: the convolution of a tensor's name.

    >>> times = {"Reformatting CopyNode for Input Tensor 0 to conv1 + relu1": 2.0, "conv1 + relu1": 9.0, "pool": 3.0}
    >>> attribute(times, {"conv1": "conv1"})
    {'conv1': 11.0}
    """
    found: dict[str, float] = {}
    for layer, time in times.items():
        made = COPY.sub("", layer).split(" + ")
        for name in dict.fromkeys(names[tensor] for tensor in made if tensor in names):
            found[name] = found.get(name, 0.0) + time
    return found


def find_slower(
    half: Sequence[Mapping[str, float]], int8: Sequence[Mapping[str, float]], noise: float = NOISE
) -> list[str]:
    """The convolutions that take longer in eight bits than in half, over all batches, by name.

    Args:
        half: microseconds of each convolution for each batch. Batches count alike, however long they take.
        int8: the same in eight bits.
        noise: how many times as long is longer.

    >>> find_slower([{"a": 10.0, "b": 10.0}], [{"a": 8.0, "b": 12.0}])
    ['b']
    """
    shared = [name for name in half[0] if all(name in times for times in (*half, *int8))]
    whole = [sum(times.values()) for times in half]
    return [
        name
        for name in shared
        if sum(times[name] / total for times, total in zip(int8, whole, strict=True))
        > noise * sum(times[name] / total for times, total in zip(half, whole, strict=True))
    ]


def _time_convolutions(path: Path, batches: Sequence[int], names: Mapping[str, str]) -> list[dict[str, float]]:
    runner = open_runner(path)
    try:
        return [attribute(runner.time_layers(batch), names) for batch in batches]
    finally:
        runner.close()

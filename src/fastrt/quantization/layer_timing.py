"""Finds the layers that are slower in int8 than in FP16, by timing layers.

int8 needs fewer bytes and cycles, but small feature maps do not fill the GPU, and tensors between int8 and FP16 layers
must be converted. So first each layer is timed, then whole engines: a layer that is slower by itself may still
save a conversion next to another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastrt.engine.load import load, open_runner
from fastrt.files import scratch_folder
from fastrt.ir.network import Network
from fastrt.passes import simplify
from fastrt.passes.quantize import list_layers
from fastrt.passes.slices import list_parts
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.registry import find_target
from fastrt.timing.interleaved import compare_speed

NOISE = 1.05
"""Threshold: a layer is slower if its time in int8 is more than this many times that in FP16.

An estimate, not a measurement: it only selects candidates, and the speed of whole engines decides (ADR 16)."""

COPY = re.compile(r"^Reformatting CopyNode for \w+ Tensor \d+ to ")
"""TensorRT's name prefix for a reformatting copy before a layer."""

HALF, INT8, MIXED = "fp16", "int8", "int8, the slower ones in fp16"

Build = Callable[[Path, Precision, Collection[str]], EngineInfo]
"""Builds an engine of the network to be timed: its path, its precision, and the layers excluded from int8."""


@dataclass(frozen=True)
class SpeedSelection:
    """The measured speeds, and the layers selected by them.

    Attributes:
        kept: layers to exclude from int8.
        slower: layers that are slower in int8 by themselves.
        fastest: the name of the fastest engine in ``images_s``.
        images_s: images/s of each candidate engine, by batch.
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
        fastest = "fp16, so no layer is in int8" if self.fastest == HALF else self.fastest
        return f"slower in int8 by themselves: {', '.join(self.slower) or 'none'}; fastest is {fastest} ({rates})"


def exclude_slower(
    network: Network,
    target: str,
    kept: Collection[str],
    build: Build,
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> SpeedSelection:
    """Select the layers to exclude from int8 for speed.

    Args:
        network: the result of `fastrt.build_network`.
        target: a target whose runner can time layers.
        kept: layers that are already excluded.
        build: builds an engine; all batches that it is tuned for have equal weight.
        advance: called with a phase's name, steps done and steps in all.

    Returns:
        ``kept`` with the slower layers, if that engine is the fastest; all layers, if the FP16 engine is.
    """
    names = own_names(network)
    with scratch_folder() as folder, ExitStack() as stack:
        suffix = find_target(target).suffix
        paths = {HALF: folder / f"half{suffix}", INT8: folder / f"int8{suffix}"}
        batches = build(paths[HALF], "fp16", ()).batches or ()
        advance("measuring layers", 1, 3)
        build(paths[INT8], "int8", kept)
        advance("measuring layers", 2, 3)
        half, int8 = (_time_layers(path, batches, names) for path in paths.values())
        slower = tuple(name for name in find_slower(half, int8) if name not in kept)
        choices: dict[str, tuple[str, ...]] = {INT8: tuple(kept)}
        if slower:
            choices[MIXED] = (*kept, *slower)
            paths[MIXED] = folder / f"mixed{suffix}"
            build(paths[MIXED], "int8", choices[MIXED])
        choices[HALF] = tuple(list_layers(simplify(network)))
        advance("measuring layers", 3, 3)
        sessions = {name: stack.enter_context(load(path)) for name, path in paths.items()}
        images = np.random.default_rng(0).integers(0, 256, (1, *network.input.shape[1:], 3)).astype(np.uint8)
        rates = compare_speed(sessions, images, advance, batches)
    # max() returns the first of equals: the one with the most int8 layers.
    fastest = max(choices, key=lambda name: sum(rates[name][batch] / rates[HALF][batch] for batch in batches))
    return SpeedSelection(choices[fastest], slower, fastest, rates)


def own_names(network: Network) -> dict[str, str]:
    """Map names in engines to the layers that can be in int8.

    An engine may have a convolution in parts, one for each slice of its channels (`fastrt.passes.slices`).
    """
    simplified = simplify(network)
    layers = list_layers(simplified)
    parts = {part: whole for part, whole in list_parts(simplified).items() if whole in layers}
    return dict(zip(layers, layers, strict=True)) | parts


def attribute(times: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    """Sum the microseconds of each layer, including the reformatting copies before it.

    Args:
        times: microseconds by engine layer; a layer's name is its output tensors' names, joined by `` + ``.
        names: the layer of each tensor name.

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


def find_slower(half: Sequence[Mapping[str, float]], int8: Sequence[Mapping[str, float]]) -> list[str]:
    """Find the layers that take longer in int8 than in FP16, over all batches.

    Args:
        half: microseconds of each layer in FP16, for each batch; batches have equal weight.
        int8: the same in int8.

    >>> find_slower([{"a": 10.0, "b": 10.0}], [{"a": 8.0, "b": 12.0}])
    ['b']
    """
    shared = [name for name in half[0] if all(name in times for times in (*half, *int8))]
    whole = [sum(times.values()) for times in half]
    return [
        name
        for name in shared
        if sum(times[name] / total for times, total in zip(int8, whole, strict=True))
        > NOISE * sum(times[name] / total for times, total in zip(half, whole, strict=True))
    ]


def _time_layers(path: Path, batches: Sequence[int], names: Mapping[str, str]) -> list[dict[str, float]]:
    with closing(open_runner(path)) as runner:
        timed = ({layer.name: layer.us for layer in runner.time_layers(batch)} for batch in batches)
        return [attribute(times, names) for times in timed]

"""Finds the smallest set of layers to exclude from int8 for a required similarity.

Each layer alone is quantized, and ranked by the loss of similarity. A bisection then finds how many of the worst
to exclude. The search runs on the CPU, with the quantization grids of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrt.arrays import Array, Image
from fastrt.engine.build import EngineConfig, write_engine
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.load import load
from fastrt.errors import CalibrationError
from fastrt.files import scratch_folder
from fastrt.ir.network import Network
from fastrt.passes import prepare, simplify
from fastrt.passes.quantize import list_layers
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.registry import find_target

RANKED_ON = 8
"""Number of images for the ranking of layers; the bisection uses all images."""


@dataclass(frozen=True)
class Mix:
    """The result of a search.

    Attributes:
        kept: layers excluded from int8, the worst first.
        similarity: least mean-centred cosine to fp32 over all images.
        pure: the same with every layer in int8.
        losses: 1 minus the least cosine with one layer alone in int8, by its name; empty if none is excluded.
    """

    kept: tuple[str, ...]
    similarity: float
    pure: float
    losses: dict[str, float]


def find_mix(
    network: Network,
    table: CalibrationTable,
    target: str,
    min_similarity: float,
    images: Sequence[Image] | Array,
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> Mix:
    """Find the smallest set to exclude, so that every image's mean-centred cosine to fp32 reaches a bound.

    Args:
        network: the result of `fastrt.build_network`.
        table: its calibration table.
        target: the target, whose quantization grids are tried.
        min_similarity: the bound, up to 1.
        images: ``(h, w, 3)`` uint8 BGR, at least 2, preferably not used by calibration.
        advance: called with a phase's name, steps done and steps in all.

    Raises:
        CalibrationError: the table belongs to another network, there are too few images, or the bound is out of
            reach even with all layers excluded.
    """
    table.check(network)
    if len(images) < 2:
        raise CalibrationError(f"images: {len(images)}; expected at least 2 to compare embeddings on. Give more.")
    layers = list_layers(simplify(network))
    with scratch_folder() as folder:
        trial = _Trial(network, table, target, images, folder / "trial.xml")
        pure = trial.measure(())
        if pure >= min_similarity:
            return Mix((), pure, pure, {})
        losses = {}
        for i, name in enumerate(layers):
            losses[name] = 1 - trial.measure([other for other in layers if other != name], RANKED_ON)
            advance("ranking layers", i + 1, len(layers))
        worst = sorted(layers, key=lambda name: -losses[name])
        fewest, most = 0, len(worst)
        found = {most: trial.measure(worst)}
        if found[most] < min_similarity:
            raise CalibrationError(
                f"similarity: {found[most]:.5f} with every layer excluded from int8; expected {min_similarity}."
                " Require less."
            )
        while most - fewest > 1:
            middle = (fewest + most) // 2
            found[middle] = trial.measure(worst[:middle])
            fewest, most = (fewest, middle) if found[middle] >= min_similarity else (middle, most)
            advance("choosing how many to exclude", len(found), len(worst).bit_length() + 1)
    return Mix(tuple(worst[:most]), found[most], pure, losses)


class _Trial:
    """Measures networks with some layers in int8."""

    def __init__(
        self, network: Network, table: CalibrationTable, target: str, images: Sequence[Image] | Array, path: Path
    ) -> None:
        self._network, self._table, self._path = network, table, path
        self._placement = find_target(target).placement
        self._info = write_engine(network, self._path, EngineConfig(resampler=table.resampler))
        with load(self._path) as session:
            self._images = session.resize(images)
            self._wanted = session(self._images)

    def measure(self, kept: Collection[str], count: int | None = None) -> float:
        """Compute the least mean-centred cosine over the first ``count`` images."""
        info = self._info.model_copy(update={"precision": "int8"})
        network = prepare(
            self._network, info, quantized=lambda simplified: self._table.quantize(simplified, self._placement, kept)
        )
        find_target("openvino").build(network, self._path, info, BuildOptions())
        with load(self._path) as session:
            got = session(self._images[:count])
        return float(centred_cosines(got, self._wanted[:count]).min())

"""Which convolutions to keep from eight bits, so that embeddings stay as alike to fp32 as is asked: the fewest.

Each convolution alone is brought to eight bits, and ranked by what that does to the embeddings. Then as many of the
worst are kept as it takes, found by halving. The search runs on the CPU with the grids of whatever target is built for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrt.arrays import Array, Image
from fastrt.engine.build import build
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.load import load
from fastrt.errors import CalibrationError
from fastrt.ir.network import Network
from fastrt.passes import prepare
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import Placement, list_convolutions
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.registry import find_target

RANKED_ON = 8
"""Images that convolutions are ranked on; what is kept is decided on all."""


@dataclass(frozen=True)
class Mix:
    """What a search found.

    Attributes:
        kept: convolutions that stay in floating point, the worst first.
        similarity: least mean-centred cosine to fp32, of any image.
        pure: the same with every convolution in eight bits.
        losses: of each convolution, by name: one less the least cosine, with it alone in eight bits; empty if nothing
            had to be kept.
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
    """The fewest convolutions to keep, so that no image's mean-centred cosine to fp32 falls below a bound.

    Args:
        network: what `fastrt.build_network` made.
        table: of the same network.
        target: what is to be built for; its grids are tried.
        min_similarity: the bound, up to 1.
        images: ``(h, w, 3)`` uint8 BGR, at least 2 that calibration has not seen.
        advance: called with what is being done, steps done and steps in all.

    Raises:
        CalibrationError: the table is another network's, too few images, or a bound that even all convolutions in
            floating point do not reach.
    """
    table.check(network)
    if len(images) < 2:
        raise CalibrationError(f"{len(images)} image is too few to compare embeddings on; give at least 2")
    convolutions = list_convolutions(fold_scales(network))
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(network, table, find_target(target).placement, images, Path(folder))
        pure = trial.measure(())
        if pure >= min_similarity:
            return Mix((), pure, pure, {})
        losses = {}
        for i, name in enumerate(convolutions):
            losses[name] = 1 - trial.measure([other for other in convolutions if other != name], RANKED_ON)
            advance("ranking convolutions", i + 1, len(convolutions))
        worst = sorted(convolutions, key=lambda name: -losses[name])
        fewest, most = 0, len(worst)
        found = {most: trial.measure(worst)}
        if found[most] < min_similarity:
            raise CalibrationError(
                f"with every convolution in floating point the similarity is {found[most]:.5f}, below the"
                f" {min_similarity} that is asked for; ask for less"
            )
        while most - fewest > 1:
            middle = (fewest + most) // 2
            found[middle] = trial.measure(worst[:middle])
            fewest, most = (fewest, middle) if found[middle] >= min_similarity else (middle, most)
            advance("choosing how many to keep", len(found), len(worst).bit_length() + 1)
    return Mix(tuple(worst[:most]), found[most], pure, losses)


class _Trial:
    """Tries networks of which some convolutions are in eight bits."""

    def __init__(
        self,
        network: Network,
        table: CalibrationTable,
        placement: Placement,
        images: Sequence[Image] | Array,
        folder: Path,
    ) -> None:
        self._network = network
        self._table = table
        self._placement = placement
        self._path = folder / "trial.xml"
        self._info = build(network, self._path, normalize=True, resampler=table.resampler, check=False).info
        with load(self._path) as session:
            self._images = session.resize(images)
            self._wanted = session(self._images)

    def measure(self, kept: Collection[str], count: int | None = None) -> float:
        """The least mean-centred cosine of the first ``count`` images."""
        info = EngineInfo(**{**dict(self._info), "precision": "int8"})
        network = prepare(
            self._network, info, quantized=lambda folded: self._table.quantize(folded, self._placement, kept)
        )
        find_target("openvino").build(network, self._path, info, BuildOptions())
        with load(self._path) as session:
            got = session(self._images[:count])
        return float(centred_cosines(got, self._wanted[:count]).min())

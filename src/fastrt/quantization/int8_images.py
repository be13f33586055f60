"""Judges engines in int8 on images that calibration has not seen."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from fastrt.engine.calibration_table import CalibrationTable
from fastrt.errors import CalibrationError
from fastrt.images.find import find_images
from fastrt.images.sample import draw_held_out, read_images
from fastrt.ir.network import Network
from fastrt.quantization.report import QuantizationReport, compare_int8
from fastrt.quantization.sensitivity import Mix, find_mix

logger = logging.getLogger("fastrt")

FEWEST = 8
"""Images of whom it makes sense to ask who is nearest."""


class Judge:
    """The images, and what is asked of them."""

    def __init__(
        self,
        network: Network,
        table: CalibrationTable,
        images: Sequence[str] | None,
        advance: Callable[[str, int, int], None],
    ) -> None:
        table.check(network)
        self._network = network
        self._table = table
        self._advance = advance
        if images:
            self._images = read_images(find_images(images).images, table.images)
            self.described = f"{len(self._images)} images that calibration has not seen"
            if len(self._images) < FEWEST:
                raise CalibrationError(
                    f"{len(self._images)} images can be read that calibration has not seen; give at least {FEWEST}"
                )
            return
        self._images = read_images([Path(name) for name in table.held_out])
        self.described = f"{len(self._images)} images that calibration left over"
        if len(self._images) < FEWEST:
            self._images = draw_held_out(table.image_size)
            self.described = f"{len(self._images)} drawn pictures"
            logger.warning(
                "calibration left no images over, so int8 is compared on drawn images; --images gives better ones"
            )

    def mix(self, target: str, min_similarity: float) -> Mix:
        """The fewest convolutions to keep from int8."""
        return find_mix(self._network, self._table, target, min_similarity, self._images, self._advance)

    def compare(self, engine: Path) -> QuantizationReport:
        """What int8 changed."""
        return compare_int8(engine, self._network, self._table, self._images, self.described, self._advance)

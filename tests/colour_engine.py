"""An engine that needs no build: the embedding of an image is its mean colour. A black image has no finite one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

import fastrt
from fastrt.arrays import Array, Embeddings
from fastrt.targets.base import Runner
from fastrt.targets.engine_info import EngineInfo

INFO = EngineInfo(target="reference", precision="fp32", io="u8_nhwc_bgr", image_size=(8, 4), embedding_dim=3)


class ColourRunner(Runner):
    def __init__(self, info: EngineInfo = INFO) -> None:
        super().__init__(None, info)

    def run(self, batch: Array) -> Embeddings:
        with np.errstate(invalid="ignore"):
            colours = batch.mean((1, 2), dtype=np.float64)
            rows: Embeddings = (colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)
            return rows

    def run_intermediate(self, batch: Array) -> Mapping[str, Array]:
        raise NotImplementedError


def open_session(*_: object, batch: int | None = None, **__: object) -> fastrt.Session:
    """Takes the arguments of `fastrt.load`."""
    return fastrt.Session(ColourRunner(), batch or 2)


def paint(folder: Path, colours: Mapping[str, Sequence[int]]) -> list[Path]:
    """Write images of one colour (RGB) each, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in colours.items():
        PIL.Image.new("RGB", (4, 8), (colour[0], colour[1], colour[2])).save(folder / name)
    return [folder / name for name in colours]

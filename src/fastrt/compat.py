"""FastRT's Python class, for code that was written against it.

::

    from fastrt.compat import ReID      # was: from build.pybind_interface.ReID import ReID

    model = ReID(0)
    model.build("r50.engine")
    feature = model.infer(frame)

For FastRT's own numbers, build the engine with ``--resampler cv2-cubic --raw``: FastRT resized with OpenCV's bicubic,
and did not normalise. New code had better use `fastrt.load`, whose session takes many images and gives arrays.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fastrt.arrays import Image
from fastrt.engine.load import load
from fastrt.engine.session import Session
from fastrt.errors import EngineError
from fastrt.targets.registry import SUFFIXES


class ReID:
    """An engine behind FastRT's four names: the constructor, `build`, `infer` and `batch_infer`.

    Frames are resized as the engine file says: by ``pil-bicubic`` unless it was built with another ``--resampler``.

    Source: projects/FastRT/pybind_interface/reid.cpp.
    """

    def __init__(self, gpu_id: int) -> None:
        """Choose a GPU by its number, from 0. Engines that run on the CPU take no notice of it."""
        self.gpu_id = gpu_id
        self._session: Session | None = None

    def build(self, engine_file: str | os.PathLike[str]) -> int:
        """Load an engine file; FastRT's word for it. An engine that was loaded before is let go.

        Returns:
            0, always. Unlike FastRT, which returned -1 for a file that it could not read, failures are errors.

        Raises:
            EngineError: there is no such file, or it is no engine, or it is damaged. What was loaded before stays.
            TargetError: the runtime or the GPU is not there.
        """
        target = SUFFIXES.get(Path(engine_file).suffix.lower(), "")
        session = load(engine_file, f"cuda:{self.gpu_id}" if target.startswith("tensorrt") else None)
        self.close()
        self._session = session
        return 0

    def infer(self, frame: Image) -> list[float]:
        """The embedding of one image.

        Args:
            frame: ``(h, w, 3)`` uint8 BGR of any size. Unlike FastRT, a strided view is what it shows.

        Returns:
            D floats; of unit length unless the engine was built raw.

        Raises:
            EngineError: no engine is loaded, or the runtime failed.
            ImageError: it is no such array.
        """
        return self.batch_infer([frame])[0]

    def batch_infer(self, frames: Iterable[Image]) -> list[list[float]]:
        """The embeddings of images, in order.

        Args:
            frames: ``(h, w, 3)`` uint8 BGR arrays of any size, strided views included. There may be any number: unlike
                FastRT, which wrote beyond its memory, this runs as many batches as it takes.

        Returns:
            A list of D floats for each image.

        Raises:
            EngineError: no engine is loaded, or the runtime failed.
            ImageError: there is no image, or one is no such array; its place is named.
        """
        if self._session is None:
            raise EngineError("no engine is loaded; call build with an engine file first")
        rows: list[list[float]] = self._session(list(frames)).tolist()
        return rows

    def close(self) -> None:
        """Free the engine. Closing twice does nothing."""
        if self._session is not None:
            self._session.close()
            self._session = None

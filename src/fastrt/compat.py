"""FastRT's Python class `ReID`, for code that was written for FastRT.

::

    from fastrt.compat import ReID      # was: from build.pybind_interface.ReID import ReID

    model = ReID(0)
    model.build("r50.engine")
    feature = model.infer(frame)

For FastRT's numbers, build the engine with ``--resampler cv2-cubic --raw``: FastRT resized with OpenCV's bicubic
interpolation and did not normalise. New code should use `fastrt.load`, whose session takes batches and returns arrays.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fastrt.arrays import Image
from fastrt.engine.load import load
from fastrt.engine.session import Session
from fastrt.errors import EngineError
from fastrt.signatures import checked
from fastrt.targets.registry import SUFFIXES


class ReID:
    """An engine with FastRT's four methods: the constructor, `build`, `infer` and `batch_infer`.

    Frames are resized with the resampler of the engine file: ``pil-bicubic`` unless built with another ``--resampler``.

    Source: projects/FastRT/pybind_interface/reid.cpp.
    """

    def __init__(self, gpu_id: int) -> None:
        """Select a GPU by its number, from 0. CPU engines ignore it."""
        self.gpu_id = gpu_id
        self._session: Session | None = None

    @checked(EngineError)
    def build(self, engine_file: str | os.PathLike[str]) -> int:
        """Load an engine file (FastRT calls this ``build``). A previously loaded engine is closed.

        Returns:
            Always 0. Unlike FastRT, which returned -1 for a file that it could not read, a failure raises an error.

        Raises:
            EngineError: the file does not exist, is not an engine, or is damaged. The previous engine stays loaded.
            TargetError: the runtime or the GPU is not available.
        """
        target = SUFFIXES.get(Path(engine_file).suffix.lower(), "")
        session = load(engine_file, f"cuda:{self.gpu_id}" if target.startswith("tensorrt") else None)
        self.close()
        self._session = session
        return 0

    def infer(self, frame: Image) -> list[float]:
        """Embed one image.

        Args:
            frame: ``(h, w, 3)`` uint8 BGR of any size. Unlike FastRT, a strided view is read correctly.

        Returns:
            D floats, of unit length unless the engine was built with ``--raw``. Errors as in `batch_infer`.
        """
        return self.batch_infer([frame])[0]

    def batch_infer(self, frames: Iterable[Image]) -> list[list[float]]:
        """Embed images, in order.

        Args:
            frames: ``(h, w, 3)`` uint8 BGR arrays of any size, strided views included. Unlike FastRT, which wrote
                beyond its buffer, this takes any number of them.

        Returns:
            A list of D floats for each image.

        Raises:
            EngineError: no engine is loaded, or the runtime failed.
            ImageError: ``frames`` is empty, or one is not such an array; its index is named.
        """
        if self._session is None:
            raise EngineError(
                "ReID: no engine is loaded; expected a loaded engine. Call build with an engine file first."
            )
        rows: list[list[float]] = self._session(list(frames)).tolist()
        return rows

    def close(self) -> None:
        """Free the engine. A second call does nothing."""
        if self._session is not None:
            self._session.close()
            self._session = None

"""Session: images in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from fastrt.arrays import Array, Embeddings, Image, Images
from fastrt.errors import EngineError, ImageError
from fastrt.images.preprocess import check_image, find_resampler
from fastrt.targets.base import Runner
from fastrt.targets.engine_info import EngineInfo


class Session:
    """A loaded engine. Call it with images; any number of threads may do so at once.

    Use it as a context manager, or `close` it.

    Attributes:
        info: what the engine says of itself: image size, embedding's dimension, resampler, precision, spec.
        batch: how many images are run at once at most.
        threads: by how many threads of the CPU they are computed, where the runtime says; else None.
    """

    def __init__(self, runner: Runner, batch: int | None = None) -> None:
        """Wrap a runner.

        Raises:
            EngineError: a batch of less than one image.
        """
        if batch is not None and batch < 1:
            raise EngineError(f"a batch of {batch} images cannot be run; at least 1 is wanted")
        self.info: EngineInfo = runner.info
        self.batch = batch or runner.batch
        self.threads = runner.threads
        self._runner = runner
        self._resample = find_resampler(runner.info.resampler)

    def __call__(self, images: Sequence[Image] | Images) -> Embeddings:
        """The embeddings of images.

        Args:
            images: a list of ``(h, w, 3)`` uint8 BGR arrays of any size, strided views included, each resized to the
                engine's size; or one ``(n, H, W, 3)`` uint8 BGR array, a batch already at that size. An engine on a GPU
                also takes an array that lies there, in its input profile: anything with ``__cuda_array_interface__`` or
                DLPack, such as a tensor of torch; it is not copied to the host.

        Returns:
            ``(n, D)`` float32, a row an image, in order; of unit length unless the engine was built raw.

        Raises:
            ImageError: no image at all, or one that is not ``(h, w, 3)`` uint8, or has no pixels; its place is named.
            EngineError: the session is closed, or the runtime failed.
        """
        if _lies_elsewhere(images):
            rows: Embeddings = self._runner.run_on_device(images, stay=False)
            return rows
        self._check(images)  # all of them before the first is run
        if len(images) <= self.batch:
            return self._runner.run(self.prepare(self._resized(images)))
        embeddings = np.empty((len(images), self.info.embedding_dim), np.float32)
        starts = range(0, len(images), self.batch)
        parts = (self.prepare(self._resized(images[start : start + self.batch])) for start in starts)
        for start, rows in zip(starts, self._runner.run_all(parts), strict=True):
            embeddings[start : start + len(rows)] = rows
        return embeddings

    def embed_batches(self, batches: Iterable[Images]) -> Iterator[Embeddings]:
        """The embeddings of ready batches ``(n, H, W, 3)``, ``n`` up to `batch`, in turn.

        While one is computed the next is asked for, so whatever makes it overlaps with the engine.

        Raises:
            ImageError: a batch does not fit the engine.
            EngineError: the session is closed, or the runtime failed.
        """

        def ready() -> Iterator[Array]:
            for batch in batches:
                self._check_batch(batch)
                yield self.prepare(batch)

        return self._runner.run_all(ready())

    def embed_on_device(self, images: Any) -> Any:
        """The embeddings of a ready batch, left on the GPU.

        Args:
            images: a batch in the engine's input profile, of NumPy or on the GPU.

        Returns:
            An ``(n, D)`` float32 array on the GPU, with ``__cuda_array_interface__``; it frees itself.

        Raises:
            ImageError: the batch does not fit, or the engine runs on no GPU.
        """
        return self._runner.run_on_device(images, stay=True)

    def pinned(self, count: int) -> Array:
        """Memory for ``count`` images in the engine's input profile, to be filled and given to the session.

        For an engine on a GPU it is page-locked: a batch in it is copied there without a detour.
        """
        return self._runner.pinned(count)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.info.image_size
        return f"Session({self.info.target} {self.info.precision}, {height}x{width} to {self.info.embedding_dim})"

    def close(self) -> None:
        """Free the engine. Closing twice does nothing."""
        self._runner.close()

    def resize(self, images: Sequence[Image] | Images) -> Images:
        """Images as a batch ``(n, H, W, 3)`` at the engine's size; a ready batch as it is. Raises as calling does."""
        self._check(images)
        return self._resized(images)

    def _resized(self, images: Sequence[Image] | Images) -> Images:
        if isinstance(images, np.ndarray):
            return images
        batch = np.empty((len(images), *self.info.image_size, 3), np.uint8)
        for image, row in zip(images, batch, strict=True):
            row[...] = self._resample(image, self.info.image_size)
        return batch

    def prepare(self, batch: Images) -> Array:
        """A ready batch in the engine's input profile, C-contiguous."""
        if self.info.io == "f32_nchw_rgb":
            return batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32, order="C")
        return np.ascontiguousarray(batch)

    def _check(self, images: Sequence[Image] | Images) -> None:
        if len(images) == 0:
            raise ImageError("a batch of 0 images has no embeddings; give at least one")
        if isinstance(images, np.ndarray):
            self._check_batch(images)
        else:
            for i, image in enumerate(images):
                check_image(image, f"image {i}")

    def _check_batch(self, images: Images) -> None:
        height, width = self.info.image_size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (height, width, 3):
            hint = (
                "for a single image, give [image]"
                if images.ndim == 3
                else "for images of other sizes, give a list of them"
            )
            raise ImageError(
                f"a batch of shape {images.shape} {images.dtype} does not fit the engine,"
                f" which wants (n, {height}, {width}, 3) uint8 BGR; {hint}"
            )


def _lies_elsewhere(images: object) -> bool:
    """Whether images are an array of another library, which may lie on a GPU."""
    if isinstance(images, np.ndarray | Sequence):
        return False
    return hasattr(images, "__cuda_array_interface__") or hasattr(images, "__dlpack__")

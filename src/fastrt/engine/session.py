"""Session: images in, embeddings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np

from fastrt.arrays import Array, DeviceEmbeddings, Embeddings, Image, Images, ReadyArray, is_plain_array
from fastrt.engine.numbers import check_count
from fastrt.engine.stream import Embedded, Paths, embed_files
from fastrt.errors import EngineError, ImageError
from fastrt.images.preprocess import check_image, find_resampler, type_hint
from fastrt.signatures import checked
from fastrt.targets.base import Runner
from fastrt.targets.engine_info import EngineInfo

NAMED = 5
"""Number of images that an error names."""


class Session:
    """A loaded engine. Call it with images; calls from several threads are safe.

    Use it as a context manager, or call `close`. A session can be pickled and copied: the copy loads the engine again.

    Attributes:
        info: the engine's metadata: image size, embedding dimension, resampler, precision, spec.
        batch: maximum number of images per run.
        threads: number of CPU threads, if the runtime reports it; else None.
    """

    def __init__(self, runner: Runner, batch: int | None = None, reload: Callable[[], Session] | None = None) -> None:
        """Wrap a runner; ``reload`` loads the same engine again, for a copy or in another process.

        Raises:
            EngineError: ``batch`` is not a whole number from 1 to 65536.
        """
        self.info: EngineInfo = runner.info
        self.batch = runner.batch if batch is None else check_count(batch, "batch:")
        self.threads = runner.threads
        self._runner = runner
        self._reload = reload

    def __call__(self, images: Sequence[Image] | Images) -> Embeddings:
        """Compute the embeddings of images.

        Args:
            images: a list of ``(h, w, 3)`` uint8 BGR arrays of any size, strided views included, each resized to the
                engine's size; or one ``(n, H, W, 3)`` uint8 BGR array, a batch already at that size. An engine on a GPU
                also takes an array in GPU memory, in its input profile, without a copy to the host: any object with
                ``__cuda_array_interface__`` or DLPack, such as a torch tensor.

        Returns:
            ``(n, D)`` float32, one row per image, in order; of unit length unless the engine was built raw.

        Raises:
            ImageError: there is no image, or an image is not ``(h, w, 3)`` uint8 or has no pixels; names its index.
            EngineError: the session is closed, the runtime failed, or embeddings are not finite; names their images.
        """
        if _lies_elsewhere(images):
            embeddings = self._runner.run_array(images)
        else:
            self._check(images)  # check all images before running the first
            embeddings = self._embed(images)
        _check_finite(embeddings)
        return embeddings

    def _embed(self, images: Sequence[Image] | Images) -> Embeddings:
        if len(images) <= self.batch:
            return self._runner.run(self.prepare(self._resized(images)))
        embeddings = np.empty((len(images), self.info.embedding_dim), np.float32)
        starts = range(0, len(images), self.batch)
        parts = (self.prepare(self._resized(images[start : start + self.batch])) for start in starts)
        for start, rows in zip(starts, self._runner.run_all(parts), strict=True):
            embeddings[start : start + len(rows)] = rows
        return embeddings

    @checked(ImageError)
    def embed_batches(self, batches: Iterable[Images]) -> Iterator[Embeddings]:
        """Yield the embeddings of ready batches ``(n, H, W, 3)``, ``n`` up to `batch`, one by one.

        The next batch is requested while one is computed, so its preparation overlaps with the engine. Batches may
        share memory: one array, filled anew each time, serves for all. Unlike a call, this does not check that
        embeddings are finite.

        Raises:
            ImageError: there are no batches, or one is empty or does not fit the engine.
            EngineError: the session is closed, or the runtime failed.
        """

        def ready() -> Iterator[Array]:
            for batch in batches:
                yield self.prepare(batch)

        return self._runner.run_all(ready(), reused=True)

    @checked(ImageError, "advance", "mirrored")
    def embed_files(
        self, paths: Paths, advance: Callable[[int], None] = lambda _: None, *, mirrored: bool = False
    ) -> Embedded:
        """Compute the embeddings of image files, each resized to the engine's size by the engine's resampler.

        Threads decode the next images while the engine runs. A file that cannot be read, or whose embedding is not
        finite, has no row; it is listed in ``unreadable`` with the reason.

        Args:
            paths: image files; `fastrt.extraction.find_images` finds those of folders and patterns.
            advance: called with the number of files done since the last call, for a progress bar.
            mirrored: mirror each image left to right after resizing.

        Returns:
            ``embeddings``, ``(n, D)`` float32; ``paths``, the file of each row; ``unreadable``, pairs of a file and the
            reason.

        Raises:
            ImageError: there is no file, or none could be read (the message names the first); or ``paths`` is no list
                of paths.
            EngineError: the session is closed, or the runtime failed.

        >>> embedded = session.embed_files(["crops/0.jpg", "crops/1.jpg"])  # doctest: +SKIP
        >>> embedded.embeddings.shape, len(embedded.paths), embedded.unreadable  # doctest: +SKIP
        ((2, 2048), 2, ())
        """
        return embed_files(self, paths, advance, mirrored=mirrored)

    def embed_on_device(self, images: ReadyArray) -> DeviceEmbeddings:
        """Compute the embeddings of a ready batch and leave them on the GPU.

        Args:
            images: a batch in the engine's input profile, a NumPy array or on the GPU.

        Returns:
            An ``(n, D)`` float32 array on the GPU, with ``__cuda_array_interface__``; it frees its own memory.
            Embeddings are not checked to be finite.

        Raises:
            ImageError: the batch does not fit the engine, or the engine does not run on a GPU.
        """
        return self._runner.run_on_device(images)

    def pinned(self, count: int) -> Array:
        """Allocate memory for ``count`` images in the engine's input profile, for use as a session's input.

        For an engine on a GPU the memory is page-locked, so a batch is copied to the GPU directly.

        Raises:
            EngineError: ``count`` is not a whole number from 1 to 65536.
        """
        return self._runner.pinned(check_count(count, "count:"))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.info.image_size
        return f"Session({self.info.target} {self.info.precision}, {height}x{width} to {self.info.embedding_dim})"

    def close(self) -> None:
        """Free the engine. A second call does nothing."""
        self._runner.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle or copy the session as a handle, which loads the engine from its path onto its device again.

        Raises:
            EngineError: the session is closed, or was not made by `fastrt.load`.
        """
        self._runner.engine  # noqa: B018 (raises if it is closed)
        if self._reload is None:
            raise EngineError("session: of a runner; expected one of fastrt.load, which knows its file. Load the file.")
        return _reload, (self._reload, self.info)

    def resize(self, images: Sequence[Image] | Images) -> Images:
        """Resize images to a batch ``(n, H, W, 3)`` of the engine's size; a ready batch is returned unchanged.

        Raises as calling does.
        """
        self._check(images)
        return self._resized(images)

    def _resized(self, images: Sequence[Image] | Images) -> Images:
        if isinstance(images, np.ndarray):
            return images
        resample = find_resampler(self.info.resampler)
        batch = np.empty((len(images), *self.info.image_size, 3), np.uint8)
        for image, row in zip(images, batch, strict=True):
            row[...] = resample(image, self.info.image_size)
        return batch

    def prepare(self, batch: Images) -> Array:
        """Convert a ready batch to the engine's input profile, C-contiguous. Raises `ImageError` for anything else."""
        self._check_batch(batch)
        if self.info.io == "f32_nchw_rgb":
            return batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32, order="C")
        return np.ascontiguousarray(batch)

    def _check(self, images: Sequence[Image] | Images) -> None:
        height, width = self.info.image_size
        if not isinstance(images, list | tuple | np.ndarray):
            raise ImageError(
                f"images: {type(images).__name__}; expected a list of (h, w, 3) uint8 BGR arrays, or one array of"
                f" (n, {height}, {width}, 3). {type_hint(images)}"
            )
        if isinstance(images, np.ndarray):
            self._check_batch(images)
        elif len(images) == 0:
            raise _no_images()
        else:
            for i, image in enumerate(images):
                check_image(image, f"image {i}")

    def _check_batch(self, images: Images) -> None:
        height, width = self.info.image_size
        if not is_plain_array(images):
            raise ImageError(
                f"images: {type(images).__name__}; expected an array (n, {height}, {width}, 3) uint8 BGR."
                f" {type_hint(images)}"
            )
        if images.shape[:1] == (0,):
            raise _no_images()
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (height, width, 3):
            hint = (
                "For a single image, give [image]."
                if images.ndim == 3
                else "For images of other sizes, give a list of them."
            )
            raise ImageError(
                f"images: shape {images.shape} {images.dtype}; expected (n, {height}, {width}, 3) uint8 BGR. {hint}"
            )


def _no_images() -> ImageError:
    return ImageError("images: none; expected at least one. Skip empty batches.")


def _check_finite(embeddings: Embeddings) -> None:
    """Raise `EngineError` if an embedding is not finite."""
    if np.isfinite(embeddings).all():
        return
    bad = np.flatnonzero(~np.isfinite(embeddings).all(1)).tolist()
    named = ", ".join(map(str, bad[:NAMED])) + (", ..." if len(bad) > NAMED else "")
    raise EngineError(
        f"image{'s' if len(bad) > 1 else ''} {named}: {len(bad)} of {len(embeddings)} embeddings have NaN or infinity;"
        " expected finite values. Check the images, and the engine with fastrt verify."
    )


def _reload(reload: Callable[[], Session], info: EngineInfo) -> Session:
    """Load the engine of a pickled session.

    Raises:
        EngineError: the file is now another engine. Others as `fastrt.load` does.
    """
    session = reload()
    if session.info != info:
        session.close()
        raise EngineError(
            f"{session!r}: not the engine of the pickled session; expected an unchanged engine file. Load it anew."
        )
    return session


def _lies_elsewhere(images: object) -> TypeGuard[ReadyArray]:
    """True if images are an array of another library, which may be in GPU memory."""
    if isinstance(images, np.ndarray | Sequence):
        return False
    return hasattr(images, "__cuda_array_interface__") or hasattr(images, "__dlpack__")

"""Calibration: runs a network on images, and chooses the range of each tensor to represent in int8."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from fastrt.arrays import Array, Image
from fastrt.engine.build import EngineConfig, default_resampler, write_engine
from fastrt.engine.calibration_table import CalibrationTable, Method, TensorRange
from fastrt.engine.load import open_runner
from fastrt.engine.session import Session
from fastrt.errors import CalibrationError
from fastrt.files import scratch_folder
from fastrt.images.sample import ImageSample
from fastrt.ir.network import Network
from fastrt.passes import simplify
from fastrt.passes.quantize import list_inputs, list_sites
from fastrt.quantization.histogram import Histogram
from fastrt.quantization.methods import METHODS
from fastrt.signatures import checked
from fastrt.targets.engine_info import Resampler
from fastrt.version import __version__

BATCH = 4
"""Images per batch, all tensors in memory: about 50 MB per image, for a ResNet-50 at 256x128."""


@checked(CalibrationError, "network", "images", "resampler", "correct_bias", "advance")
def calibrate(
    network: Network,
    images: Iterable[Image],
    method: Method = "entropy",
    *,
    resampler: Resampler | None = None,
    correct_bias: bool = True,
    advance: Callable[[int], None] = lambda _: None,
) -> CalibrationTable:
    """Calibrate the ranges of a network's tensors.

    The network runs in fp32 on the default target. Memory does not grow with the number of images.

    Args:
        network: the result of `fastrt.build_network`.
        images: ``(h, w, 3)`` uint8 BGR arrays of any size, or one ``(n, H, W, 3)`` array; an `ImageSample` names them.
        method: ``minmax``, ``percentile``, ``entropy`` or ``mse``: chooses the largest magnitude to represent.
        resampler: the method that resizes images; use the engine's. None: as `fastrt.build`.
        correct_bias: store channel means, so that biases can correct the output error caused by weight rounding.
        advance: called with the number of images done since the last call.

    Raises:
        CalibrationError: an argument of another type, no image, an unknown method, or non-finite values in the network.
        ImageError: an element is not an image.
    """
    if method not in METHODS:
        raise CalibrationError(f"calibration method: {method}; expected {', '.join(METHODS)}.")
    resampler = resampler or default_resampler(network)
    statistics, count, digest = _Statistics(network), 0, hashlib.sha256()
    with scratch_folder() as folder, ThreadPoolExecutor() as workers:
        path = folder / "fp32.xml"
        config = EngineConfig(normalize=False, io="f32_nchw_rgb", resampler=resampler, whole=True)
        write_engine(network, path, config)
        runner = open_runner(path, intermediate=statistics.names)
        with Session(runner) as session:
            for batch in _batches(images):
                for image in batch:
                    digest.update(f"{image.shape}".encode())
                    digest.update(image.tobytes())
                values = runner.run_intermediate(session.prepare(session.resize(batch)))
                _check_finite(network.output.name, values[network.output.name])
                list(workers.map(statistics.add, statistics.names, map(values.__getitem__, statistics.names)))
                count += len(batch)
                advance(len(batch))
    if count == 0:
        raise CalibrationError("calibration: no images; expected some like those in use. Give images.")
    sample = images if isinstance(images, ImageSample) else None
    return CalibrationTable(
        fastrt=__version__,
        fingerprint=network.fingerprint(),
        method=method,
        image_size=(network.input.shape[1], network.input.shape[2]),
        resampler=resampler,
        seed=None if sample is None else sample.seed,
        images=tuple(map(str, range(count)) if sample is None else sample.names),
        held_out=() if sample is None else tuple(sample.held_out),
        images_hash=digest.hexdigest(),
        ranges={name: _range(histogram, METHODS[method]) for name, histogram in statistics.histograms.items()},
        means={name: _rounded(total / count) for name, total in statistics.sums.items() if correct_bias},
    )


class _Statistics:
    """Histograms of tensors, and channel sums of the inputs of convolutions and linear layers."""

    def __init__(self, network: Network) -> None:
        simplified = simplify(network)
        self.histograms = {name: Histogram() for name in list_sites(simplified)}
        self.sums: dict[str, Array] = dict.fromkeys(list_inputs(simplified), np.zeros(()))
        self.names = list(dict.fromkeys([*self.histograms, *self.sums]))

    def add(self, name: str, values: Array) -> None:
        """Add the values of feature maps ``(n, C, H, W)`` or of tokens ``(n, T, C)``.

        Several threads may add different tensors.
        """
        _check_finite(name, values)
        if name in self.histograms:
            self.histograms[name].add(values)
        if name in self.sums:
            means = values.mean((2, 3) if values.ndim == 4 else 1, dtype=np.float64)
            self.sums[name] = self.sums[name] + means.sum(0)


def _check_finite(name: str, values: Array) -> None:
    """Raise `CalibrationError` if a tensor has NaN, infinity, or values whose squares overflow."""
    if not np.isfinite(np.vdot(values, values)):
        raise CalibrationError(
            f"{name}: NaN or infinity on the calibration images; expected finite values. Check the weights."
        )


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.5g}") for value in values)


def _batches(images: Iterable[Image]) -> Iterator[list[Image]]:
    iterator = iter(images)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _range(histogram: Histogram, find: Callable[[Array, float], float]) -> TensorRange:
    counts, width = histogram.counts, histogram.width
    if width == 0:  # all values are 0
        return TensorRange(low=histogram.low, high=histogram.high, amax=0, saturated=0)
    amax = min(histogram.amax, find(counts, width))
    beyond = counts[int(np.ceil(amax / width - 1e-6)) :].sum()
    return TensorRange(low=histogram.low, high=histogram.high, amax=amax, saturated=float(beyond / counts.sum()))

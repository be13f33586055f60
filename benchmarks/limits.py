"""How far engines are from what this CPU can do at best: ``python -m benchmarks.limits``.

The peak of arithmetic is the better of a large product of matrices and a large convolution, in float32 and in int8, by
OpenVINO; that of memory is a copy by NumPy. An engine's floors are its multiplications and additions at the one, none
counted that meets padding, and its weights and feature maps, each written and read once, at the other. All are measured
in turn. An engine may come out above the peak: its own convolutions may be better company for the caches.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import MODELS, SIZE, describe
from fastrt.calibration.images import draw_held_out
from fastrt.drawing import draw_person
from fastrt.engine_info import Precision
from fastrt.machine import describe_machine
from fastrt.network import Network
from fastrt.ops import Convolution, MatMul

RESULT = Path(__file__).parent / "results" / "limits.json"
SIDE = 2048
IMAGES, CHANNELS, PIXELS = 8, 256, 32
PROBES = {"product": 2 * SIDE**3, "convolution": 2 * IMAGES * 9 * CHANNELS**2 * PIXELS**2}
"""Operations of each: a multiplication and an addition are two."""

COPIED = 256 << 20
BATCH = 16
ROUNDS = 9
BYTES = {"fp32": 4, "int8": 1}


def count_products(network: Network) -> int:
    """Multiplications with an addition, for one image."""
    total = 0
    for tensor in network:
        operation = tensor.operation
        if isinstance(operation, Convolution):
            inputs = network[tensor.inputs[0]].shape[1:]
            places = zip(inputs, tensor.shape[1:], operation.weight.shape[2:], strict=True)
            taps = (count_taps(*place, operation.stride, operation.padding) for place in places)
            total += math.prod(operation.weight.shape[:2]) * math.prod(taps)
        elif isinstance(operation, MatMul):
            total += math.prod(tensor.shape) * network[tensor.inputs[0]].shape[0 if operation.transpose_a else 1]
    return total


def count_taps(size: int, outputs: int, kernel: int, stride: int, padding: int) -> int:
    """How often a filter meets a pixel along an axis, over all places that it is put to."""
    return sum(0 <= place * stride + tap - padding < size for place in range(outputs) for tap in range(kernel))


def count_numbers(network: Network) -> tuple[int, int]:
    """Weights, and numbers in the feature maps that an image has; each ReLU and norm is done where its input is."""
    weights = sum(tensor.operation.weight.size for tensor in network if isinstance(tensor.operation, Convolution))
    maps = sum(math.prod(tensor.shape) for tensor in network if isinstance(tensor.operation, Convolution))
    return weights, maps


def open_probe(kind: str, precision: str) -> Callable[[], object]:
    """A product of two matrices of `SIDE`, or a 3x3 convolution of `CHANNELS` to `CHANNELS`, on OpenVINO."""
    import openvino as ov
    from openvino import opset14 as op

    rng = np.random.default_rng(0)
    shape = [SIDE, SIDE] if kind == "product" else [IMAGES, CHANNELS, PIXELS, PIXELS]
    weights = [SIDE, SIDE] if kind == "product" else [CHANNELS, CHANNELS, 3, 3]
    left = op.parameter(shape, np.float32)
    right: Any = op.constant(rng.uniform(-1, 1, weights).astype(np.float32))
    first: Any = left
    if precision == "int8":
        first = op.fake_quantize(left, *(np.float32(bound) for bound in (0, 1, 0, 1)), 256)
        right = op.fake_quantize(right, *(np.float32(bound) for bound in (-1, 1, -1, 1)), 255)
    if kind == "product":
        result = op.matmul(first, right, False, True)
    else:
        result = op.convolution(first, right, [1, 1], [1, 1], [1, 1], [1, 1])
    model = ov.Model([result], [left], kind)
    config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
    image = rng.uniform(0, 1, shape).astype(np.float32)
    return lambda: request.infer([image], share_inputs=True)


def main() -> None:
    works: dict[tuple[str, str], Callable[[], object]] = {}
    source, target = np.zeros(COPIED, np.uint8), np.zeros(COPIED, np.uint8)
    works["copy", ""] = lambda: np.copyto(target, source)
    networks = {title: describe(title) for title in MODELS}
    images = np.stack([draw_person(i, 0, *SIZE) for i in range(BATCH)])
    with tempfile.TemporaryDirectory() as folder:
        for precision in BYTES:
            for probe in PROBES:
                works[probe, precision] = open_probe(probe, precision)
            for title, network in networks.items():
                session = fastrt.load(build(network, title, precision, Path(folder)))
                works[title, precision] = lambda session=session: session(images)  # type: ignore[misc]
        times: dict[tuple[str, str], list[float]] = {name: [] for name in works}
        for work in works.values():
            work()
        for _ in range(ROUNDS):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    peaks = {
        precision: max(operations / medians[probe, precision] for probe, operations in PROBES.items())
        for precision in BYTES
    }
    bandwidth = 2 * COPIED / medians["copy", ""]
    rows: list[dict[str, object]] = []
    for title, network in networks.items():
        for precision, size in BYTES.items():
            peak = peaks[precision]
            operations = 2 * count_products(network) * BATCH
            weights, maps = count_numbers(network)
            seconds = medians[title, precision]
            rows.append(
                {
                    "model": title,
                    "precision": precision,
                    "GFLOP an image": round(operations / BATCH / 1e9, 2),
                    "ms an image": round(1e3 * seconds / BATCH, 2),
                    "floor by arithmetic, ms": round(1e3 * operations / peak / BATCH, 2),
                    "floor by memory, ms": round(1e3 * size * (weights / BATCH + 2 * maps) / bandwidth, 2),
                    "of the peak": f"{operations / seconds / peak:.0%}",
                }
            )
            print(rows[-1], flush=True)
    rates = {f"peak_{precision}_gop_s": round(peak / 1e9) for precision, peak in peaks.items()}
    machine = {**describe_machine(), **rates, "bandwidth_gb_s": round(bandwidth / 1e9, 1)}
    result = {"command": "python -m benchmarks.limits", "batch": BATCH, "machine": machine, "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def build(network: Network, title: str, precision: str, folder: Path) -> Path:
    wanted: Precision = "int8" if precision == "int8" else "fp32"
    table = fastrt.calibrate(network, draw_held_out((SIZE[0], SIZE[1]))) if wanted == "int8" else None
    path = folder / f"{title}-{precision}.xml"
    fastrt.build(network, path, precision=wanted, table=table)
    return path


if __name__ == "__main__":
    main()

"""Roofline bounds of the networks and measured engines: ``python -m benchmarks.roofline cpu|gpu``.

The arithmetic bound is a network's multiplications and additions, without those on padding, at the host's peak rate.
The memory bound is its weights and feature maps, each written and read once, at the peak bandwidth.

``cpu``: the arithmetic peak is the faster of a large matrix product and a large convolution by OpenVINO, in float32 and
in int8. The memory peak is a copy by NumPy. Engines and peaks are measured in alternating rounds. An engine may exceed
the peak, because its own convolutions may use the caches better.

``gpu``: the peaks are a large matrix product in FP16 and in int8, and a copy on the device, by PyTorch. The bounds are
compared with the latest rates of `benchmarks.tensorrt_speed` on the same GPU model, with images and embeddings on the
GPU.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.models import MODELS, TALL, describe
from benchmarks.results import RESULTS, Row, gpu_result, read_result, run_command, write_result
from fastrt.images.drawing import draw_person
from fastrt.images.sample import draw_held_out
from fastrt.ir.network import Network
from fastrt.ir.ops import Convolution, Linear, MatMul
from fastrt.targets.engine_info import Precision
from fastrt.timing.clock import time_in_turn, warm_up
from fastrt.timing.host import describe_host

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes per number."""

SIDE = {"cpu": 2048, "gpu": 8192}
IMAGES, CHANNELS, PIXELS = 8, 256, 32
PROBES = {"product": 2 * SIDE["cpu"] ** 3, "convolution": 2 * IMAGES * 9 * CHANNELS**2 * PIXELS**2}
"""Operations of each probe; a multiplication and an addition count as two."""

COPIED = {"cpu": 256 << 20, "gpu": 1 << 30}
"""Bytes."""

BATCHES = (1, 4, 16, 32)
ROUNDS = 9
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
CALLS, QUEUED = 50, 10
"""Calls on a GPU, and kernels per call: the host waits once for all of them."""


def count_products(network: Network) -> int:
    """Count the multiply-add operations for one image."""
    total = 0
    for tensor in network:
        operation = tensor.operation
        if isinstance(operation, Convolution):
            inputs = network[tensor.inputs[0]].shape[1:]
            places = zip(inputs, tensor.shape[1:], operation.weight.shape[2:], operation.strides, strict=True)
            pixels = (count_pixels(*place, operation.padding) for place in places)
            total += math.prod(operation.weight.shape[:2]) * math.prod(pixels)
        elif isinstance(operation, Linear):
            total += math.prod(tensor.shape) * operation.weight.shape[1]
        elif isinstance(operation, MatMul):
            total += math.prod(tensor.shape) * network[tensor.inputs[0]].shape[-2 if operation.transpose_a else -1]
    return total


def count_pixels(size: int, outputs: int, kernel: int, stride: int, padding: int) -> int:
    """Count the pixels under a filter along one axis, over all its positions, without padding.

    >>> count_pixels(4, 4, 3, 1, 1)
    10
    """
    return sum(0 <= i * stride + offset - padding < size for i in range(outputs) for offset in range(kernel))


def compare(network: Network, engine: Row, seconds: float, peaks: Mapping[str, float], bandwidth: float) -> Row:
    """Compare an engine's time of a batch with its bounds, from operations/s by precision and bytes/s.

    ReLUs and norms count as fused into the preceding convolution.
    """
    weights = maps = 0
    for tensor in network:
        if isinstance(tensor.operation, Convolution):
            weights += tensor.operation.weight.size
            maps += math.prod(tensor.shape)
    precision, batch = engine["precision"], engine["batch"]
    operations = 2 * count_products(network)
    arithmetic = 1e3 * operations / peaks[precision]
    memory = 1e3 * BYTES[precision] * (weights / batch + 2 * maps) / bandwidth
    taken = 1e3 * seconds / batch
    figures = {"ms per image": taken, "arithmetic bound, ms": arithmetic, "memory bound, ms": memory}
    return {
        **{name: engine[name] for name in ("model", "precision", "batch")},
        "GFLOP per image": round(operations / 1e9, 2),
        **{name: float(f"{value:.3g}") for name, value in figures.items()},
        "of the peak": f"{arithmetic / taken:.0%}",
    }


def describe_peaks(peaks: Mapping[str, float], bandwidth: float) -> dict[str, float]:
    rates = {f"peak_{precision}_gop_s": round(peak / 1e9) for precision, peak in peaks.items()}
    return {**rates, "bandwidth_gb_s": round(bandwidth / 1e9, 1)}


def open_probe(kind: str, precision: str) -> Callable[[], object]:
    """Open a product of two square matrices, or a 3x3 convolution of `CHANNELS` to `CHANNELS`, on OpenVINO."""
    import openvino as ov
    from openvino import opset14 as op

    rng = np.random.default_rng(0)
    square = [SIDE["cpu"], SIDE["cpu"]]
    shape = square if kind == "product" else [IMAGES, CHANNELS, PIXELS, PIXELS]
    weights = square if kind == "product" else [CHANNELS, CHANNELS, 3, 3]
    source = op.parameter(shape, np.float32)
    left, right = source, op.constant(rng.uniform(-1, 1, weights).astype(np.float32))
    if precision == "int8":
        left = op.fake_quantize(left, *np.array([0, 1, 0, 1], np.float32), 256)
        right = op.fake_quantize(right, *np.array([-1, 1, -1, 1], np.float32), 255)
    ones = [1, 1]
    found = op.matmul(left, right, False, True) if kind == "product" else op.convolution(left, right, *[ones] * 4)
    config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(ov.Model([found], [source], kind), "CPU", config).create_infer_request()
    image = rng.uniform(0, 1, shape).astype(np.float32)
    return lambda: request.infer([image], share_inputs=True)


def open_engine(title: str, network: Network, precision: Precision, folder: Path) -> fastrt.Session:
    """Build an OpenVINO engine, and load it."""
    size = network.input.shape[1], network.input.shape[2]
    table = fastrt.calibrate(network, draw_held_out(size)) if precision == "int8" else None
    path = folder / f"{title}-{precision}.xml"
    fastrt.build(network, path, precision=precision, table=table)
    return fastrt.load(path, batch=max(BATCHES))


def measure_cpu() -> None:
    networks = {title: describe(title) for title in (*MODELS, TALL)}
    source, target = (np.zeros(COPIED["cpu"], np.uint8) for _ in range(2))
    works: dict[tuple[object, ...], Callable[[], object]] = {("copy",): partial(np.copyto, target, source)}
    works |= {(probe, precision): open_probe(probe, precision) for probe, precision in product(PROBES, PRECISIONS)}
    with tempfile.TemporaryDirectory() as folder:
        for (title, network), precision in product(networks.items(), PRECISIONS):
            session = open_engine(title, network, precision, Path(folder))
            people = np.stack([draw_person(i, 0, *session.info.image_size) for i in range(max(BATCHES))])
            works |= {(title, precision, batch): partial(session, people[:batch]) for batch in BATCHES}
        times = time_in_turn(works, rounds=ROUNDS)
    medians = {work: statistics.median(seconds) for work, seconds in times.items()}
    peaks: dict[str, float] = {
        precision: max(operations / medians[probe, precision] for probe, operations in PROBES.items())
        for precision in PRECISIONS
    }
    bandwidth = 2 * COPIED["cpu"] / medians["copy",]
    rows = []
    for (title, network), precision, batch in product(networks.items(), PRECISIONS, BATCHES):
        engine = {"model": title, "precision": precision, "batch": batch}
        rows.append(compare(network, engine, medians[title, precision, batch], peaks, bandwidth))
    print(*rows, sep="\n")
    write_result("roofline", "roofline cpu", rows, host={**describe_host(), **describe_peaks(peaks, bandwidth)})


def measure_peaks() -> tuple[dict[str, float], float]:
    """Measure a GPU's operations/s by precision, and its bytes/s read or written."""
    import torch

    def time_kernel(kernel: Callable[[], object]) -> float:
        def run() -> None:
            for _ in range(QUEUED):
                kernel()
            torch.cuda.synchronize()

        warm_up(run)  # raises the clock frequency
        return time_in_turn({"": run}, calls=CALLS)[""][0] / QUEUED

    size = SIDE["gpu"], SIDE["gpu"]
    left, right = (torch.randn(size, device="cuda", dtype=torch.float16) for _ in range(2))
    first, second = (torch.randint(-127, 128, size, device="cuda", dtype=torch.int8) for _ in range(2))
    source = torch.empty(COPIED["gpu"], dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    operations = 2 * SIDE["gpu"] ** 3
    peaks = {
        "fp16": operations / time_kernel(lambda: left @ right),
        "int8": operations / time_kernel(lambda: torch._int_mm(first, second.t())),  # noqa: SLF001 -- no public one
    }
    return peaks, 2 * COPIED["gpu"] / time_kernel(lambda: target.copy_(source))


def measure_gpu() -> None:
    import torch

    gpu = torch.cuda.get_device_name(0)
    measured = gpu_result(gpu, "tensorrt_speed")
    if not (RESULTS / f"{measured}.json").is_file():
        raise fastrt.EngineError(f"benchmarks.tensorrt_speed has measured nothing on an {gpu}; measure that first")
    speed = read_result(measured)
    peaks, bandwidth = measure_peaks()
    networks = {row["model"]: describe(row["model"]) for row in speed["rows"]}
    rows = [
        compare(networks[row["model"]], row, row["batch"] / row["images_s_on_device"], peaks, bandwidth)
        for row in speed["rows"]
        if "images_s_on_device" in row
    ]
    print(*rows, sep="\n")
    host = {**speed["host"], "torch": torch.__version__, **describe_peaks(peaks, bandwidth)}
    write_result(gpu_result(gpu, "roofline"), "roofline gpu", rows, host=host)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("device", choices=["cpu", "gpu"])
    if parser.parse_args().device == "cpu":
        measure_cpu()
    else:
        measure_gpu()


if __name__ == "__main__":
    run_command(main)

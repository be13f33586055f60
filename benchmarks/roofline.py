"""Roofline bounds of the networks and measured engines: ``python -m benchmarks.roofline cpu|gpu``.

The arithmetic bound is a network's multiplications and additions, without those on padding, at the host's peak rate.
The memory bound is its weights and feature maps, each written and read once, at the peak bandwidth.

``cpu``: the arithmetic peak is the faster of a large matrix product and a large convolution by OpenVINO, in float32 and
in int8. The memory peak is a copy by NumPy. Engines and peaks are measured in alternating rounds. An engine may exceed
the peak, because its own convolutions may use the caches better.

``gpu``: the peaks are a large matrix product in FP16 and in int8, and a copy on the device, by PyTorch. Tables compare
the bounds with the latest rates of `benchmarks.tensorrt_speed` on the same GPU model, with images and embeddings on the
GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import MODELS, describe
from benchmarks.results import Row, engine_of, gpu_result, run_command, write, write_result
from fastrt.images.drawing import draw_person
from fastrt.images.sample import draw_held_out
from fastrt.ir.network import Network
from fastrt.ir.ops import Convolution, MatMul
from fastrt.targets.engine_info import Precision
from fastrt.timing.clock import time_in_turn, warm_up
from fastrt.timing.host import describe_machine

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes per number."""

ARITHMETIC, MEMORY = "floor by arithmetic, ms", "floor by memory, ms"
"""Columns: the bounds per image."""

SIDE = {"cpu": 2048, "gpu": 8192}
IMAGES, CHANNELS, PIXELS = 8, 256, 32
PROBES = {"product": 2 * SIDE["cpu"] ** 3, "convolution": 2 * IMAGES * 9 * CHANNELS**2 * PIXELS**2}
"""Operations of each probe; a multiplication and an addition count as two."""

COPIED = {"cpu": 256 << 20, "gpu": 1 << 30}
"""Bytes."""

BATCHES = (1, 4, 16, 32)
ROUNDS = 9
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
TALL = "R50-NL-IBN 384x128"
CALLS, QUEUED = 50, 10
"""Calls on a GPU, and kernels per call: the host waits once for all of them."""

Work = tuple[str, str] | tuple[str, str, int]
Works = dict[Work, Callable[[], object]]


def count_products(network: Network) -> int:
    """Count the multiply-add operations for one image."""
    total = 0
    for tensor in network:
        operation = tensor.operation
        if isinstance(operation, Convolution):
            inputs = network[tensor.inputs[0]].shape[1:]
            places = zip(inputs, tensor.shape[1:], operation.weight.shape[2:], strict=True)
            pixels = (count_pixels(*place, operation.stride, operation.padding) for place in places)
            total += math.prod(operation.weight.shape[:2]) * math.prod(pixels)
        elif isinstance(operation, MatMul):
            total += math.prod(tensor.shape) * network[tensor.inputs[0]].shape[0 if operation.transpose_a else 1]
    return total


def count_pixels(size: int, outputs: int, kernel: int, stride: int, padding: int) -> int:
    """Count the pixels under a filter along one axis, over all its positions, without padding."""
    return sum(0 <= i * stride + offset - padding < size for i in range(outputs) for offset in range(kernel))


def bound(title: str, network: Network, precision: str, batch: int, peak: float, bandwidth: float) -> Row:
    """Compute a network's bounds for a batch, from operations/s and bytes/s.

    ReLUs and norms count as fused into the preceding convolution.
    """
    convolutions = [tensor for tensor in network if isinstance(tensor.operation, Convolution)]
    weights = sum(tensor.operation.weight.size for tensor in convolutions if isinstance(tensor.operation, Convolution))
    maps = sum(math.prod(tensor.shape) for tensor in convolutions)
    operations = 2 * count_products(network)
    return {
        "model": title,
        "precision": precision,
        "batch": batch,
        "GFLOP an image": round(operations / 1e9, 2),
        ARITHMETIC: _round(1e3 * operations / peak),
        MEMORY: _round(1e3 * BYTES[precision] * (weights / batch + 2 * maps) / bandwidth),
    }


def set_beside(bounds: Row, seconds: float) -> Row:
    """Combine a network's bounds with the time of a batch.

    >>> set_beside({"batch": 4, ARITHMETIC: 1.0, MEMORY: 0.5}, 0.008)["of the peak"]
    '50%'
    """
    taken = 1e3 * seconds / bounds["batch"]
    about = {name: value for name, value in bounds.items() if name not in (ARITHMETIC, MEMORY)}
    both = {name: bounds[name] for name in (ARITHMETIC, MEMORY)}
    return {**about, "ms an image": _round(taken), **both, "of the peak": f"{bounds[ARITHMETIC] / taken:.0%}"}


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def describe_peaks(peaks: Mapping[str, float]) -> dict[str, float]:
    return {f"peak_{precision}_gop_s": round(peak / 1e9) for precision, peak in peaks.items()}


def open_probe(kind: str, precision: str) -> Callable[[], object]:
    """Open a product of two square matrices, or a 3x3 convolution of `CHANNELS` to `CHANNELS`, on OpenVINO."""
    import openvino as ov
    from openvino import opset14 as op

    rng = np.random.default_rng(0)
    square = [SIDE["cpu"], SIDE["cpu"]]
    shape = square if kind == "product" else [IMAGES, CHANNELS, PIXELS, PIXELS]
    weights = square if kind == "product" else [CHANNELS, CHANNELS, 3, 3]
    left = op.parameter(shape, np.float32)
    right: Any = op.constant(rng.uniform(-1, 1, weights).astype(np.float32))
    first: Any = left
    if precision == "int8":
        first = op.fake_quantize(left, *(np.float32(limit) for limit in (0, 1, 0, 1)), 256)
        right = op.fake_quantize(right, *(np.float32(limit) for limit in (-1, 1, -1, 1)), 255)
    if kind == "product":
        result = op.matmul(first, right, False, True)
    else:
        result = op.convolution(first, right, [1, 1], [1, 1], [1, 1], [1, 1])
    model = ov.Model([result], [left], kind)
    config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
    image = rng.uniform(0, 1, shape).astype(np.float32)
    return lambda: request.infer([image], share_inputs=True)


def list_works(networks: Mapping[str, Network], folder: Path) -> Works:
    """List the works on a CPU: a copy, the probes of each precision, and each network at each batch."""
    source, target = (np.zeros(COPIED["cpu"], np.uint8) for _ in range(2))
    works: Works = {("copy", ""): lambda: np.copyto(target, source)}
    for precision in PRECISIONS:
        for probe in PROBES:
            works[probe, precision] = open_probe(probe, precision)
        for title, network in networks.items():
            session = fastrt.load(build(network, title, precision, folder), batch=max(BATCHES))
            people = np.stack([draw_person(i, 0, *session.info.image_size) for i in range(max(BATCHES))])
            for batch in BATCHES:
                works[title, precision, batch] = partial(session, people[:batch])
    return works


def build(network: Network, title: str, precision: Precision, folder: Path) -> Path:
    """Build an OpenVINO engine."""
    size = network.input.shape[1], network.input.shape[2]
    table = fastrt.calibrate(network, draw_held_out(size)) if precision == "int8" else None
    path = folder / f"{title}-{precision}.xml"
    fastrt.build(network, path, precision=precision, table=table)
    return path


def measure_cpu() -> None:
    networks = {title: describe(title) for title in (*MODELS, TALL)}
    with tempfile.TemporaryDirectory() as folder:
        times = time_in_turn(list_works(networks, Path(folder)), rounds=ROUNDS)
    medians = {work: statistics.median(seconds) for work, seconds in times.items()}
    peaks: dict[str, float] = {
        precision: max(operations / medians[probe, precision] for probe, operations in PROBES.items())
        for precision in PRECISIONS
    }
    bandwidth = 2 * COPIED["cpu"] / medians["copy", ""]
    rows = [
        set_beside(
            bound(title, network, precision, batch, peaks[precision], bandwidth), medians[title, precision, batch]
        )
        for title, network in networks.items()
        for precision in PRECISIONS
        for batch in BATCHES
    ]
    machine = {**describe_machine(), **describe_peaks(peaks), "bandwidth_gb_s": round(bandwidth / 1e9, 1)}
    write_result("limits", "roofline cpu", rows, machine=machine)
    print(*rows, sep="\n")


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
    if not measured.is_file():
        raise fastrt.EngineError(f"benchmarks.tensorrt_speed has measured nothing on an {gpu}; measure that first")
    speed: Row = json.loads(measured.read_text())
    peaks, bandwidth = measure_peaks()
    machine = {
        **speed["machine"],
        "torch": torch.__version__,
        **describe_peaks(peaks),
        "bandwidth_gb_s": round(bandwidth / 1e9),
    }
    networks = {row["model"]: describe(row["model"]) for row in speed["rows"]}
    rows = []
    for title, precision, batch in ((row["model"], row["precision"], row["batch"]) for row in speed["rows"]):
        rows.append(bound(title, networks[title], precision, batch, peaks[precision], bandwidth))
    write(gpu_result(gpu, "gpu_limits"), "roofline gpu", rows, machine=machine)
    print(*list_rows({"machine": machine, "rows": rows}), sep="\n")


def list_rows(result: Row) -> list[Row]:
    """Combine a GPU's bounds with the rates measured on the same GPU model."""
    speed: Row = json.loads(gpu_result(result["machine"]["gpu"], "tensorrt_speed").read_text())
    rates = {engine_of(row): row["images_s_on_device"] for row in speed["rows"] if "images_s_on_device" in row}
    return [
        set_beside(row, row["batch"] / rates[engine]) for row in result["rows"] if (engine := engine_of(row)) in rates
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("device", choices=["cpu", "gpu"])
    if parser.parse_args().device == "cpu":
        measure_cpu()
    else:
        measure_gpu()


if __name__ == "__main__":
    run_command(main)

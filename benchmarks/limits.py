"""How far engines are from what this CPU can do at best: ``python -m benchmarks.limits``.

The peak of arithmetic is the better of a large product of matrices and a large convolution, in float32 and in int8, by
OpenVINO; that of memory is a copy by NumPy. An engine's floors are its multiplications and additions at the one, none
counted that meets padding, and its weights and feature maps, each written and read once, at the other. All are measured
in turn. An engine may come out above the peak: its own convolutions may be better company for the caches.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.floors import describe_floors, set_beside
from benchmarks.models import MODELS, describe
from fastrt.images.drawing import draw_person
from fastrt.images.sample import draw_held_out
from fastrt.ir.network import Network
from fastrt.targets.engine_info import Precision
from fastrt.timing.host import describe_machine

RESULT = Path(__file__).parent / "results" / "limits.json"
SIDE = 2048
IMAGES, CHANNELS, PIXELS = 8, 256, 32
PROBES = {"product": 2 * SIDE**3, "convolution": 2 * IMAGES * 9 * CHANNELS**2 * PIXELS**2}
"""Operations of each: a multiplication and an addition are two."""

COPIED = 256 << 20
BATCHES = (1, 4, 16, 32)
ROUNDS = 9
PRECISIONS = ("fp32", "int8")
TALL = "R50-NL-IBN 384x128"

Work = tuple[str, str] | tuple[str, str, int]
Works = dict[Work, Callable[[], object]]


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
    networks = {title: describe(title) for title in (*MODELS, TALL)}
    with tempfile.TemporaryDirectory() as folder:
        medians = take_turns(list_works(networks, Path(folder)))
    peaks = {
        precision: max(operations / medians[probe, precision] for probe, operations in PROBES.items())
        for precision in PRECISIONS
    }
    bandwidth = 2 * COPIED / medians["copy", ""]
    rows = [
        set_beside(
            describe_floors(title, network, precision, batch, peaks[precision], bandwidth),
            medians[title, precision, batch],
        )
        for title, network in networks.items()
        for precision in PRECISIONS
        for batch in BATCHES
    ]
    rates = {f"peak_{precision}_gop_s": round(peak / 1e9) for precision, peak in peaks.items()}
    machine = {**describe_machine(), **rates, "bandwidth_gb_s": round(bandwidth / 1e9, 1)}
    RESULT.write_text(
        json.dumps({"command": "python -m benchmarks.limits", "machine": machine, "rows": rows}, indent=1) + "\n"
    )
    for row in rows:
        print(row)


def list_works(networks: Mapping[str, Network], folder: Path) -> Works:
    """What is timed: a copy, the probes of each precision, and each network at each batch."""
    source, target = np.zeros(COPIED, np.uint8), np.zeros(COPIED, np.uint8)
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


def take_turns(works: Works) -> dict[Work, float]:
    """The median of seconds that each takes, all in turn."""
    times: dict[Work, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            work()  # after others had the caches
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def build(network: Network, title: str, precision: str, folder: Path) -> Path:
    wanted: Precision = "int8" if precision == "int8" else "fp32"
    size = network.input.shape[1], network.input.shape[2]
    table = fastrt.calibrate(network, draw_held_out(size)) if wanted == "int8" else None
    path = folder / f"{title}-{precision}.xml"
    fastrt.build(network, path, precision=wanted, table=table)
    return path


if __name__ == "__main__":
    main()

"""Time per layer type in OpenVINO, from its own counters: ``python -m benchmarks.openvino_layers``."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov

from benchmarks.models import MODELS, SIZE, describe
from benchmarks.results import write_result
from benchmarks.roofline import PRECISIONS, build
from fastrt.images.drawing import draw_person

BATCH = 4
RUNS = 20
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True}
INTEGERS = "_I8"
"""The suffix of int8 kernels' names."""


def count(path: Path) -> dict[str, float]:
    """Milliseconds per batch, and the percentage of each layer type."""
    request = ov.Core().compile_model(path, "CPU", CONFIG).create_infer_request()
    images = np.stack([draw_person(i, 0, *SIZE) for i in range(BATCH)])
    for _ in range(3):
        request.infer([images])
    spent: Counter[str] = Counter()
    for _ in range(RUNS):
        request.infer([images])
        for node in request.profiling_info:
            milliseconds = node.real_time.total_seconds() * 1e3 / RUNS
            spent["all"] += milliseconds
            spent[kind_of(node.node_name, node.node_type, node.exec_type)] += milliseconds
    total = spent.pop("all")
    kinds = ("convolutions, float", "convolutions, int8", "the bytes' way in", "the rest")
    return {"ms": round(total, 2), **{f"{kind}, %": round(100 * spent[kind] / total, 1) for kind in kinds}}


def kind_of(name: str, layer: str, kernel: str) -> str:
    if layer == "Convolution":
        return "convolutions, int8" if kernel.endswith(INTEGERS) else "convolutions, float"
    return "the bytes' way in" if name.startswith("images") else "the rest"


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.openvino_layers", description=__doc__).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for title in MODELS:
            network = describe(title)
            for precision in PRECISIONS:
                found = count(build(network, title, precision, Path(folder)))
                rows.append({"model": title, "precision": precision, **found})
                print(rows[-1], flush=True)
    write_result("openvino_layers", "openvino_layers", rows, batch=BATCH)


if __name__ == "__main__":
    main()

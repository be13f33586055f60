"""Compares fastrt with its alternatives on a CPU: ``python -m benchmarks.peers [MODEL ...]``.

Interleaved benchmark: one process per candidate, measured in alternating rounds (`fastrt.timing.processes`), with the
same weights, images and threads. All candidates get uint8 in OpenCV's layout, and all preprocessing is inside the
network, as in fastrt; most exports do less. BoxMOT gets the images as crops of a frame, its own input, at the size to
which it resizes crops. ``ONEDNN_MAX_CPU_ISA`` restricts the CPU's instructions; each restriction has its own result.
Needs PyTorch, NNCF, ONNX, onnxruntime, BoxMOT and OpenVINO.

``fp32`` engines compute in float32 throughout; by default OpenVINO would use bfloat16 on CPUs that support it. Cosines
are least mean-centred cosines to PyTorch in float32, on images that calibration did not use.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import MODELS, TALL, TRAINED, describe
from benchmarks.results import Row, describe_ratios, run_command, update_result
from benchmarks.torch_module import make_module
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.ir.network import Network
from fastrt.passes.fold import fold_scales
from fastrt.similarity import centred_cosines
from fastrt.timing.engines import OpenEngine
from fastrt.timing.host import describe_host
from fastrt.timing.processes import Candidate, Outcome, Run, run_interleaved

TITLES = [*MODELS, TALL, TRAINED]
BATCHES = (1, 4, 16, 32)
BOXMOT_SIZE = (256, 128)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""BoxMOT's normalization of RGB pixels from 0 to 1; FastReID's is the same."""

CALIBRATED = 128
COMPARED = 32
ROUNDS = 7
OURS = "fastrt fp32"


def draw(network: Network, first: int, count: int) -> Array:
    height, width = network.input.shape[1:]
    return np.stack([draw_person(first + i // 2, i % 2, height, width) for i in range(count)])


def open_torch(title: str, compiled: bool) -> Run:
    """Open PyTorch, eager or compiled for each batch size."""
    import torch

    module: Any = make_module(fold_scales(describe(title)), torch.float32).to(memory_format=torch.channels_last)
    if compiled:
        module = torch.compile(module, dynamic=False)

    def run(images: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(images)).numpy())

    return run


def open_onnxruntime(path: str) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def open_openvino(path: str) -> Run:
    """Open an OpenVINO file, or an ONNX file, which OpenVINO converts."""
    import openvino as ov

    config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(path, "CPU", config).create_infer_request()

    def run(images: Array) -> Array:
        request.infer([images], share_inputs=True)
        return np.array(request.output_tensors[0].data)

    return run


def export(title: str, folder: Path) -> str:
    """Write PyTorch's ONNX export; returns its path."""
    import torch

    path = str(folder / "exported.onnx")
    network = describe(title)
    images = torch.zeros((2, *network.input.shape[1:], 3), dtype=torch.uint8)
    export_module(make_module(fold_scales(network), torch.float32), images, path)
    return path


def export_for_boxmot(title: str, folder: Path) -> str:
    """Write a file for BoxMOT: OpenVINO IR of an export with normalized planar input."""
    import openvino as ov
    import torch

    network = describe(title)
    module = make_module(fold_scales(network), torch.float32, planes=True)
    mean, deviation = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))

    class TakesNormalized(torch.nn.Module):  # type: ignore[misc]
        def forward(self, planes: Any) -> Any:
            return module(planes * deviation + mean)

    exported = str(folder / "planes.onnx")
    export_module(TakesNormalized().eval(), torch.zeros((2, *network.input.shape)), exported)
    ov.save_model(ov.Core().read_model(exported), folder / "boxmot.xml", compress_to_fp16=False)
    return str(folder / "boxmot.xml")


def export_module(module: Any, example: Any, path: str) -> None:
    """Write PyTorch's ONNX export of a module, for batches of any size."""
    import torch

    batch = torch.export.Dim("batch", min=1, max=512)
    torch.onnx.export(module, (example,), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)


def open_boxmot(path: str) -> Run:
    """Open BoxMOT's OpenVINO backend. It crops a frame and normalizes the crops; here the frame is a stack of them."""
    import torch
    from boxmot.reid.backends.openvino_backend import OpenVinoBackend

    backend = OpenVinoBackend(Path(path), torch.device("cpu"), half=False)
    assert backend.input_shape == BOXMOT_SIZE

    def run(images: Array) -> Array:
        count, height, width, _ = images.shape
        boxes = np.array([[0, i * height, width, (i + 1) * height] for i in range(count)], np.float32)
        return np.asarray(backend.get_features(boxes, images.reshape(count * height, width, 3)))

    return run


def quantize_theirs(exported: str, images: Array, folder: Path) -> str:
    """Quantize the export with NNCF's defaults."""
    import nncf
    import openvino as ov

    model = ov.Core().read_model(exported)
    quantized = nncf.quantize(model, nncf.Dataset([image[None] for image in images]), subset_size=len(images))
    ov.save_model(quantized, folder / "nncf.xml", compress_to_fp16=False)
    return str(folder / "nncf.xml")


def enlist(title: str, folder: Path) -> list[Candidate]:
    """List all candidates, and make their files in a folder."""
    network = describe(title)
    images = draw(network, 1000, CALIBRATED)
    table = fastrt.calibrate(network, images)
    fastrt.build(network, folder / "fp32.xml")
    fastrt.build(network, folder / "int8.xml", precision="int8", table=table)
    exported = export(title, folder)
    return [
        Candidate(OURS, partial(OpenEngine, folder / "fp32.xml")),
        Candidate("PyTorch eager", partial(open_torch, title, compiled=False)),
        Candidate("torch.compile", partial(open_torch, title, compiled=True)),
        Candidate("onnxruntime", partial(open_onnxruntime, exported)),
        Candidate("OpenVINO of the export", partial(open_openvino, exported)),
        *(
            [Candidate("BoxMOT", partial(open_boxmot, export_for_boxmot(title, folder)))]
            if network.input.shape[1:] == BOXMOT_SIZE
            else []
        ),
        Candidate("fastrt int8", partial(OpenEngine, folder / "int8.xml")),
        Candidate("OpenVINO int8 by NNCF", partial(open_openvino, quantize_theirs(exported, images, folder))),
    ]


def take_medians(outcome: Outcome, work: str) -> list[float]:
    assert outcome.rounds is not None
    return [statistics.median(times) for times in outcome.rounds[work]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("model", nargs="*", help=f"one of: {', '.join(TITLES)}")
    titles = parser.parse_args().model or TITLES
    if unknown := [title for title in titles if title not in TITLES]:
        parser.error(f"no model is named {unknown[0]}; expected one of {', '.join(TITLES)}")
    rows: list[Row] = []
    cosines: list[Row] = []
    for title in titles:
        with tempfile.TemporaryDirectory() as name:
            candidates = enlist(title, Path(name))
            images = draw(describe(title), 0, COMPARED)
            want = np.asarray(open_torch(title, compiled=False)(images))
            row: Row = {"model": title}
            for one in candidates:
                if one.name not in ("PyTorch eager", "torch.compile"):
                    row[one.name] = round(float(centred_cosines(np.asarray(one.make()(images)), want).min()), 5)
            cosines.append(row)
            print(row, flush=True)
            outcomes = run_interleaved(candidates, {str(batch): images[:batch] for batch in BATCHES}, rounds=ROUNDS)
        for outcome in outcomes:
            if outcome.error:
                print(outcome.name, outcome.error, flush=True)
        for batch in map(str, BATCHES):
            others = [outcome for outcome in outcomes[1:] if outcome.error is None]
            ours = {"model": title, "batch": int(batch), f"{OURS}, ms": round(outcomes[0].median_ms(batch), 2)}
            first = take_medians(outcomes[0], batch)
            rows.append({**ours, **{one.name: describe_ratios(take_medians(one, batch), first) for one in others}})
            print(rows[-1], flush=True)
        save("peers", rows)
        save("peers_similarity", cosines)


def save(name: str, rows: list[Row]) -> None:
    from importlib.metadata import version

    host = {**describe_host(), **{name: version(name) for name in ("torch", "nncf", "boxmot")}}
    narrowed = f"_{host['narrowed_to']}".lower() if host["narrowed_to"] else ""
    update_result(f"{name}{narrowed}", "peers", rows, host=host)


if __name__ == "__main__":
    run_command(main)

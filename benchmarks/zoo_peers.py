"""Compares fastrt with OpenVINO of FastReID's own export: ``python -m benchmarks.zoo_peers FASTREID [MODEL ...]``.

FASTREID is the folder of its source. Both sides get the same weights and images, uint8 in OpenCV's layout, and return
embeddings of unit length. FastReID's model is exported by PyTorch to ONNX, which OpenVINO reads. One process per
candidate, measured in alternating rounds. Needs PyTorch and onnxscript, and FastReID's own dependencies.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.models import ZOO
from benchmarks.peers import draw, export_module, open_openvino, take_medians
from benchmarks.results import Row, describe_ratios, run_command, update_result
from benchmarks.upstream import make_fastreid
from fastrt.arrays import Array
from fastrt.similarity import centred_cosines
from fastrt.testing.untrained import draw_weights
from fastrt.timing.engines import OpenEngine
from fastrt.timing.host import describe_host
from fastrt.timing.processes import Candidate, run_interleaved

BATCHES = (1, 8)
CALIBRATED = 64
COMPARED = 16


def enlist(title: str, fastreid: Path, folder: Path) -> tuple[list[Candidate], Array, Row]:
    """Make engines and FastReID's export of a model of `ZOO`; return candidates, images, and least cosines."""
    import torch

    keys = ZOO[title]
    spec = fastrt.load_spec(None, keys)
    arrays = draw_weights(spec)
    network = fastrt.build_network(spec, arrays)
    upstream = make_fastreid(fastreid, keys, arrays)
    images = draw(network, 0, COMPARED)
    with torch.inference_mode():
        want = upstream(torch.from_numpy(images)).numpy()
    export_module(upstream, torch.from_numpy(images[:2]), str(folder / "fastreid.onnx"))
    table = fastrt.calibrate(network, draw(network, 1000, CALIBRATED))
    fastrt.build(network, folder / "fp32.xml")
    candidates = [
        Candidate("fastrt fp32", partial(OpenEngine, folder / "fp32.xml")),
        Candidate("OpenVINO of FastReID's export", partial(open_openvino, str(folder / "fastreid.onnx"))),
    ]
    fastrt.build(network, folder / "int8.xml", precision="int8", table=table)
    candidates.append(Candidate("fastrt int8", partial(OpenEngine, folder / "int8.xml")))
    cosines = {
        one.name: round(float(centred_cosines(np.asarray(one.make()(images)), want).min()), 6) for one in candidates
    }
    return candidates, images, {"model": title, **cosines}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo_peers", description=__doc__)
    parser.add_argument("fastreid", type=Path)
    parser.add_argument("model", nargs="*", help=f"one of: {', '.join(ZOO)}")
    arguments = parser.parse_args()
    for title in arguments.model or ZOO:
        with tempfile.TemporaryDirectory() as name:
            candidates, images, cosines = enlist(title, arguments.fastreid, Path(name))
            print(cosines, flush=True)
            outcomes = run_interleaved(candidates, {str(batch): images[:batch] for batch in BATCHES})
        rows: list[Row] = []
        for batch in map(str, BATCHES):
            first = take_medians(outcomes[0], batch)
            others = {one.name: describe_ratios(take_medians(one, batch), first) for one in outcomes[1:]}
            rows.append(
                {
                    "model": title,
                    "batch": int(batch),
                    "fastrt fp32, ms": round(outcomes[0].median_ms(batch), 2),
                    **others,
                }
            )
            print(rows[-1], flush=True)
        update_result("zoo_peers", "zoo_peers FASTREID", rows, host=describe_host())
        update_result("zoo_similarity", "zoo_peers FASTREID", [cosines], host=describe_host())


if __name__ == "__main__":
    run_command(main)

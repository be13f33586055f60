"""int8 on CPUs with and without VNNI: ``python -m benchmarks.int8_instructions``.

OpenVINO engines of a trained network and of two random ones run on this host's CPU, with all instructions and
with those that ``ONEDNN_MAX_CPU_ISA`` allows. Three methods choose the weights. Cosines are least mean-centred cosines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.models import TRAINED, describe
from benchmarks.results import Row, run_command, write_result
from fastrt.images.drawing import draw_person
from fastrt.passes import prepare, simplify
from fastrt.passes.quantize import Placement, list_layers
from fastrt.similarity import centred_cosines, normalize_rows
from fastrt.targets.base import BuildOptions
from fastrt.targets.openvino.target import OpenVinoTarget
from fastrt.targets.reference import run_reference
from fastrt.testing.untrained import draw_weights

INSTRUCTIONS = ("AVX2", "AVX512_CORE", "DEFAULT")
"""Values of ``ONEDNN_MAX_CPU_ISA``; the last one is the unrestricted CPU."""

CALIBRATED, COMPARED = 48, 16
PLAIN = Placement(unsigned=True, signed="int8", both_sides=False, pairs_in_int16=False, bias_in_int32=False)


def list_networks() -> Iterator[tuple[str, fastrt.Network]]:
    yield TRAINED, describe(TRAINED)
    for preset in ("kd-r18-r101_ibn", "sbs_r34_distill"):
        spec = fastrt.load_spec(preset, ["INPUT.SIZE_TEST", [256, 128]])
        yield preset, fastrt.build_network(spec, draw_weights(spec))


def compare(name: str, network: fastrt.Network, folder: Path) -> Iterator[Row]:
    """Yield one row per method for the weights; ``folder`` keeps references for the next instruction set."""
    images = np.stack([draw_person(i // 2, i % 2, 256, 128) for i in range(CALIBRATED + COMPARED)])
    images, given = images[:COMPARED], images[COMPARED:]
    table = fastrt.calibrate(network, given)
    path = folder / "engine.xml"
    info = fastrt.build(network, path).info
    with fastrt.load(path) as session:
        exact = session(images)
    info = info.model_copy(update={"precision": "int8"})
    stem = list_layers(simplify(network))[0]
    for weights, placement, kept in (
        ("8 bits", PLAIN, ()),
        ("8 bits, stem excluded", PLAIN, (stem,)),
        ("no pair overflows", OpenVinoTarget.placement, ()),
    ):
        quantized = prepare(network, info, quantized=lambda folded: table.quantize(folded, placement, kept))  # noqa: B023
        reference = folder / f"{name} {weights}.npy"
        if not reference.is_file():
            np.save(reference, normalize_rows(run_reference(quantized, images)))
        OpenVinoTarget().build(quantized, path, info, BuildOptions())
        with fastrt.load(path) as session:
            got = session(images)
        figures = {"to its int8 reference": np.load(reference), "to fp32": exact}
        yield {"network": name, "weights": weights} | {
            key: round(float(centred_cosines(got, want).min()), 4) for key, want in figures.items()
        }


def main() -> None:
    if len(sys.argv) > 1:  # one instruction set, in its own process
        for name, network in list_networks():
            for row in compare(name, network, Path(sys.argv[1])):
                print(json.dumps(row), flush=True)
        return
    found: dict[tuple[str, str], Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        for instructions in INSTRUCTIONS:
            command = [sys.executable, "-m", "benchmarks.int8_instructions", folder]
            environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            for line in done.stdout.splitlines():
                row = json.loads(line)
                whole = found.setdefault((row["network"], row["weights"]), {key: row[key] for key in list(row)[:2]})
                whole |= {f"{instructions.lower()} {key}": row[key] for key in list(row)[2:]}
                print({"instructions": instructions, **row}, flush=True)
    write_result("int8_instructions", "int8_instructions", list(found.values()))


if __name__ == "__main__":
    run_command(main)

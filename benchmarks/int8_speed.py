"""int8 against fp32 on this host's CPU, for FastRT's five examples: ``python -m benchmarks.int8_speed [calibration]``.

OpenVINO engines run ready batches in alternating turns, in one process. ``ONEDNN_MAX_CPU_ISA`` restricts the CPU's
instructions; each restriction has its own result. With ``calibration``: the time of calibration, for a ResNet-50 at
256x128 on 512 images.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.results import Row, run_command, write_result
from fastrt.errors import FastrtError
from fastrt.images.drawing import draw_person
from fastrt.testing.untrained import draw_weights
from fastrt.timing.clock import timed
from fastrt.timing.host import describe_machine
from fastrt.timing.interleaved import compare_speed

BATCHES = (1, 8)
IMAGES = 16


def time_calibration(count: int = 512) -> None:
    spec = fastrt.load_spec("sbs_R50", ["MODEL.BACKBONE.WITH_NL", False, "INPUT.SIZE_TEST", [256, 128]])
    network = fastrt.build_network(spec, draw_weights(spec))
    images = [draw_person(i // 4, i % 4, 256, 128) for i in range(count)]
    rows = []
    for method in ("minmax", "percentile", "entropy", "mse"):
        seconds, _ = timed(partial(fastrt.calibrate, network, images, method))
        rows.append({"method": method, "images": count, "seconds": round(seconds, 1)})
        print(rows[-1], flush=True)
    write_result("calibration_time", "int8_speed calibration", rows)


def list_gains(result: Row) -> list[Row]:
    """Speed of int8 divided by that of fp32, by batch: median, minimum and maximum over the networks."""
    rows = []
    for batch in BATCHES:
        gains = [row["times_as_fast"] for row in result["rows"] if row["batch"] == batch]
        names = ("int8 by fp32, median", "least", "most")
        figures = (f"{figure(gains):.1f}" for figure in (np.median, min, max))
        rows.append({"batch": batch, **dict(zip(names, figures, strict=True))})
    return rows


def main() -> None:
    if sys.argv[1:] == ["calibration"]:
        time_calibration()
        return
    if sys.argv[1:]:
        raise FastrtError(f"the arguments are {sys.argv[1:]}; expected none, or calibration")
    machine = describe_machine()
    rows = []
    for preset in fastrt.preset_names():
        spec = fastrt.load_spec(preset)
        network = fastrt.build_network(spec, draw_weights(spec))
        images = [draw_person(i, 0, *spec.image_size) for i in range(IMAGES)]
        table = fastrt.calibrate(network, images, "minmax")
        with tempfile.TemporaryDirectory() as folder:
            paths = {"fp32": Path(folder) / "fp32.xml", "int8": Path(folder) / "int8.xml"}
            fastrt.build(network, paths["fp32"])
            fastrt.build(network, paths["int8"], precision="int8", table=table)
            sessions = {name: fastrt.load(path) for name, path in paths.items()}
            rates = compare_speed(sessions, np.stack(images), batches=BATCHES)
            for count in BATCHES:
                height, width = spec.image_size
                row: dict[str, object] = {"model": f"{preset} {height}x{width}", "batch": count}
                row |= {f"{name}_ms": round(1e3 * count / rates[name][count], 2) for name in sessions}
                rows.append({**row, "times_as_fast": round(rates["int8"][count] / rates["fp32"][count], 2)})
                print(rows[-1], flush=True)
            for session in sessions.values():
                session.close()
    narrowed = f"_{machine['narrowed_to']}".lower() if machine["narrowed_to"] else ""
    write_result(f"int8_speed{narrowed}", "int8_speed", rows, machine=machine)


if __name__ == "__main__":
    run_command(main)

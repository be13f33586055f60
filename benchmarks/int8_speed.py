"""int8 against fp32 on this machine's CPU, FastRT's five examples: ``python -m benchmarks.int8_speed``.

Engines of OpenVINO, in turn in one process, on ready batches; and how long calibration takes, for a ResNet-50 at
256x128 on 512 pictures that are there already.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.compare_runtimes import measure
from fastrt.drawing import draw_person
from fastrt.machine import describe_machine
from fastrt.untrained import draw_weights

RESULT = Path(__file__).parent / "results" / "int8_speed.json"
CALIBRATION = Path(__file__).parent / "results" / "calibration_time.json"
BATCHES = (1, 8)
IMAGES = 16


def time_calibration(count: int = 512) -> None:
    spec = fastrt.load_spec("sbs_R50", ["MODEL.BACKBONE.WITH_NL", False, "INPUT.SIZE_TEST", [256, 128]])
    network = fastrt.build_network(spec, draw_weights(spec))
    images = [draw_person(i // 4, i % 4, 256, 128) for i in range(count)]
    rows = []
    for method in ("minmax", "percentile", "entropy", "mse"):
        start = time.perf_counter()
        fastrt.calibrate(network, images, method)
        rows.append({"method": method, "images": count, "seconds": round(time.perf_counter() - start, 1)})
        print(rows[-1], flush=True)
    CALIBRATION.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


def main() -> None:
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
            for count in BATCHES:
                latency = measure(sessions, np.stack(images[:count]))
                height, width = spec.image_size
                row: dict[str, object] = {"model": f"{preset} {height}x{width}", "batch": count}
                row |= {f"{name}_ms": round(value, 2) for name, value in latency.items()}
                rows.append({**row, "times_as_fast": round(latency["fp32"] / latency["int8"], 2)})
                print(rows[-1], flush=True)
            for session in sessions.values():
                session.close()
    RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")
    time_calibration()


if __name__ == "__main__":
    main()

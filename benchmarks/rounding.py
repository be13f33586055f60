"""What a change that nobody sees does to networks in eight bits: ``python -m benchmarks.rounding``.

The golden networks, quantized for OpenVINO and computed in float64 by the reference, so that no runtime has a part in
it; embeddings of the golden images, and of the same with noise of a thousandth of a grey level. Least mean-centred
cosines.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.golden_int8 import draw_images
from fastrt.arrays import Array
from fastrt.machine import describe_machine
from fastrt.network import Network
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import quantize
from fastrt.similarity import centred_cosines
from fastrt.targets.openvino import OpenVinoTarget
from fastrt.targets.reference import run_reference
from golden.cases import NAMES, load_golden

RESULT = Path(__file__).parent / "results" / "rounding.json"
NOISE = 1e-3
"""Grey levels, of a normal distribution."""


def compare(name: str) -> dict[str, object]:
    case = load_golden(name)
    table = fastrt.calibrate(case.network, draw_images(case.images))
    network = fold_scales(case.network)
    means = {name: np.array(values) for name, values in table.means.items()}
    quantized = quantize(network, table.ranges, OpenVinoTarget.placement, means=means)
    noisy = case.planes + np.random.default_rng(0).normal(0, NOISE, case.planes.shape).astype(np.float32)

    def least(one: Network, images: Array, other: Network) -> float:
        cosines = centred_cosines(run_reference(one, images), run_reference(other, case.planes))
        return round(float(cosines.min()), 4)

    return {
        "case": name,
        "int8 by fp32": least(quantized, case.planes, network),
        "noise, in fp32": least(network, noisy, network),
        "noise, in int8": least(quantized, noisy, quantized),
    }


def main() -> None:
    rows = []
    for name in NAMES:
        rows.append(compare(name))
        print(rows[-1], flush=True)
    RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

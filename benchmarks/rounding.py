"""What a change that nobody sees does to networks in eight bits: ``python -m benchmarks.rounding``.

The golden networks, quantized for OpenVINO and computed in float64 by the reference, so that no runtime has a part in
it. Embeddings of the golden images are compared with those of the same with noise of a thousandth of a grey level, and
with those that come of rounding to half what is not in eight bits. Least mean-centred cosines.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import fastrt
from benchmarks.golden_int8 import draw_images
from fastrt.arrays import Array
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.passes.quantize import quantize
from fastrt.similarity import centred_cosines
from fastrt.targets.openvino.target import OpenVinoTarget
from fastrt.targets.reference import RoundingReference, run_reference
from fastrt.timing.host import describe_machine
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

    exact, wanted = (run_reference(one, case.planes) for one in (network, quantized))
    *_, (_, rounded) = RoundingReference(case.planes).lower(compute_in_half(quantized, "float16"))

    def least(got: Array, want: Array) -> float:
        return round(float(centred_cosines(got, want).min()), 4)

    return {
        "case": name,
        "int8 by fp32": least(wanted, exact),
        "noise, in fp32": least(run_reference(network, noisy), exact),
        "noise, in int8": least(run_reference(quantized, noisy), wanted),
        "half, in int8": least(rounded, wanted),
    }


def main() -> None:
    rows = []
    for name in NAMES:
        rows.append(compare(name))
        print(rows[-1], flush=True)
    RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""int8 on the golden cases: ``python -m benchmarks.golden_int8``.

Calibrated on 32 images of the golden cases' own kind, compared on the four that FastReID's embeddings are stored of,
with those in float64: with every convolution of the backbone in eight bits, and with as many kept from it as a least
mean-centred cosine of 0.99 takes. Beside it, what half-precision weights alone do to the same network.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import fastrt
from fastrt.arrays import Array
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_convolutions
from fastrt.quantization.sensitivity import find_mix
from fastrt.similarity import centred_cosines
from fastrt.targets.reference import Reference, round_weights
from fastrt.timing.host import describe_machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from golden.cases import NAMES, load_golden
from golden.recipe import make_images

RESULT = Path(__file__).parent / "results" / "golden_int8.json"
BOUND = 0.99
IMAGES = 32


def draw_images(golden: Array) -> Array:
    """Images to calibrate on, of the golden ones' kind and size, and none of them."""
    count, height, width, _ = golden.shape
    return make_images(count + IMAGES, height, width)[count:]


def main() -> None:
    rows = []
    for name in NAMES:
        case = load_golden(name)
        table = fastrt.calibrate(case.network, draw_images(case.images))
        mix = find_mix(case.network, table, "openvino", BOUND, case.images)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "engine.xml"
            fastrt.build(case.network, path, precision="int8", table=table, normalize=False)
            with fastrt.load(path) as session:
                pure = centred_cosines(session(case.images), case.exact)
        folded = fold_scales(case.network)
        half = replace(folded, tensors=tuple(replace(tensor, dtype="float16") for tensor in folded))
        *_, (_, rounded) = Reference(case.planes).lower(round_weights(half))
        rows.append(
            {
                "case": name,
                "fp16_weights_alone": round(float(centred_cosines(rounded, case.exact).min()), 4),
                "int8_least": round(float(pure.min()), 4),
                "int8_mean": round(float(pure.mean()), 4),
                "mix_least": round(mix.similarity, 4),
                "kept": len(mix.kept),
                "convolutions": len(list_convolutions(folded)),
            }
        )
        print(rows[-1], flush=True)
        RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

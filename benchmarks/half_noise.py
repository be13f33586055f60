"""What half precision alone does to the golden cases, on no runtime at all: ``python -m benchmarks.half_noise``.

The reference rounds every feature map and every convolution's weights to float16, but for those of the named stages;
one column rounds the sums of convolutions as well, as TensorRT 8's kernels do. Figures are the least mean-centred
cosine of a case's embeddings with FastReID's in float64.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from fastrt.arrays import Array
from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import Cast
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.targets.reference import HalfSumsReference, Reference, RoundingReference, round_weights
from fastrt.timing.host import describe_machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
RESULT = Path(__file__).parent / "results" / "half_noise.json"
KEPT = {"all in half": 0, "stem in float32": 1, "and layer1": 2, "and layer2": 3}
STAGE = re.compile(r"backbone\.(?:layer|NL_)(\d)")


def stage(name: str) -> int:
    """0 for the pixels and the stem, else the number of the stage that a tensor belongs to."""
    match = STAGE.match(name)
    return int(match[1]) if match else 0 if name.startswith(("images", "backbone")) else 5


def cosine(got: Array, want: Array) -> float:
    got, want = (rows - want.mean(0) for rows in (got, want))
    return float(((got * want).sum(1) / (np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1))).min())


def widen(network: Network, stages: int) -> Network:
    """The same network, its first stages not rounded."""

    def edit(tensor: Tensor) -> Tensor:
        if stage(tensor.name) >= stages or tensor.dtype == "uint8":
            return tensor
        operation = Cast("float32") if isinstance(tensor.operation, Cast) else tensor.operation
        return replace(tensor, dtype="float32", operation=operation)

    return replace(network, tensors=tuple(map(edit, network)))


def without_casts(network: Network) -> Network:
    """The same network, its feature maps in float32."""

    def edit(tensor: Tensor) -> Tensor:
        return replace(tensor, operation=Cast("float32")) if isinstance(tensor.operation, Cast) else tensor

    return replace(network, tensors=tuple(map(edit, network)))


def main() -> None:
    from golden.cases import NAMES, load_golden

    rows = []
    for name in NAMES:
        case = load_golden(name)
        half = compute_in_half(fold_scales(case.network), "float16")
        row: dict[str, object] = {"case": name}
        for title, stages in KEPT.items():
            *_, (_, embeddings) = RoundingReference(case.planes).lower(widen(half, stages))
            row[title] = round(cosine(embeddings, case.exact), 5)
        *_, (_, embeddings) = HalfSumsReference(case.planes).lower(half)
        row["sums in half too"] = round(cosine(embeddings, case.exact), 5)
        *_, (_, embeddings) = Reference(case.planes, np.float32).lower(without_casts(round_weights(half)))
        row["weights alone"] = round(cosine(embeddings, case.exact), 5)
        rows.append(row)
        print(row, flush=True)
    RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

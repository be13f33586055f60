"""How far float32 lies from float64 in the golden cases: ``python -m benchmarks.golden_noise``.

FastReID's own float32, NumPy's in the reference's order of operations, and the engines, each against FastReID in
float64; the largest difference divided by the largest value.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastrt
from fastrt.targets.reference import Reference
from fastrt.timing.host import describe_machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from golden.cases import NAMES, distance, load_golden

RESULT = Path(__file__).parent / "results" / "golden_noise.json"


def main() -> None:
    rows = []
    for name in NAMES:
        case = load_golden(name)
        *_, (_, exact) = Reference(case.planes).lower(case.network)
        *_, (_, rounded) = Reference(case.planes, np.float32).lower(case.network)
        row = {"case": name, "reference": distance(exact, case.exact), "FastReID float32": case.noise}
        row["NumPy float32"] = distance(rounded, case.exact)
        with tempfile.TemporaryDirectory() as folder:
            for suffix, target in ((".xml", "openvino"), (".onnx", "onnx")):
                path = Path(folder) / f"engine{suffix}"
                fastrt.build(case.network, path, normalize=False)
                with fastrt.load(path) as session:
                    got = session(case.images)
                row[target] = distance(got, case.exact)
                row[f"{target} to FastReID float32"] = distance(got, case.embeddings)
        rows.append({key: value if isinstance(value, str) else f"{value:.1e}" for key, value in row.items()})
        print(rows[-1], flush=True)
    RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""README's table: one image per call, fastrt and the fastest alternative, from the results of both benchmarks."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.gpu_peers import COMPILED, EAGER, OURS, PARSER
from benchmarks.results import RESULTS, Row

MODELS = ("R34", "R50-NL-IBN")
BATCH = 1
FP32 = ("PyTorch eager", "torch.compile", "onnxruntime", "OpenVINO of the export", "BoxMOT")
INT8, INT8_PEER = "fastrt int8", "OpenVINO int8 by NNCF"


def summarize() -> dict[str, Any]:
    """Make a result of six rows; the ratio is the alternative's time divided by fastrt's.

    int8 ratios have one decimal, because both of their operands are rounded.
    """
    cpu = json.loads((RESULTS / "peers.json").read_text())
    gpu = json.loads((RESULTS / "nvidia-h200" / "gpu_peers.json").read_text())
    processor = f"{cpu['machine']['processor']}, {cpu['machine']['cores']} cores"
    rows = []
    for row in _choose(cpu["rows"]):
        unit = row["fastrt fp32, ms"]
        times = {name: _median(row[name]) for name in FP32 if name in row}
        rows.append(_compare(processor, row, "fp32", unit, min(times, key=times.__getitem__), min(times.values()), 2))
        ours, peer = _median(row[INT8]), _median(row[INT8_PEER])
        rows.append(_compare(processor, row, "int8", ours * unit, INT8_PEER, peer / ours, 1))
    for row in _choose(gpu["rows"]):
        name = min((EAGER, COMPILED, PARSER), key=row.__getitem__)
        rows.append(
            _compare(gpu["machine"]["gpu"], row, "fp16", row[OURS], name.removesuffix(", ms"), row[name] / row[OURS], 2)
        )
    return {"source": "`benchmarks/results/peers.json` and `nvidia-h200/gpu_peers.json`", "rows": rows}


def _choose(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["model"] in MODELS and row["batch"] == BATCH]


def _median(text: str) -> float:
    """Parse the median in ``1.40 (1.39 to 1.44)``."""
    return float(text.partition(" ")[0])


def _compare(device: str, row: Row, precision: str, ours: float, best: str, ratio: float, decimals: int) -> Row:
    return {
        "device": device,
        "model": row["model"],
        "precision": precision,
        "fastrt, ms": f"{ours:#.3g}",
        "best alternative": best,
        "its time / fastrt's": f"{ratio:.{decimals}f}",
    }

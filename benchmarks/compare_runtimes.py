"""OpenVINO against onnxruntime, both running fp32 engines of one network: ``python -m benchmarks.compare_runtimes``.

Both run in one process, turn by turn, on ready batches, with all cores. A pause stands before every turn, because
onnxruntime's threads keep spinning for a while after a run and would take the cores from whoever comes next.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import fastrt
from fastrt.testing.untrained import draw_weights
from fastrt.timing.host import describe_machine

RESULT = Path(__file__).parent / "results" / "compare_runtimes.json"
MODELS: dict[str, tuple[str, list[object]]] = {
    "R50-ibn 384x128": ("sbs_R50-ibn", ["MODEL.BACKBONE.WITH_NL", False]),
    "R50-ibn-nl 384x128": ("sbs_R50-ibn", []),
    "R50 256x128": ("sbs_R50", ["MODEL.BACKBONE.WITH_NL", False, "INPUT.SIZE_TEST", [256, 128]]),
    "R34 distill 384x128": ("sbs_r34_distill", []),
    "R18 distill ibn 384x128": ("kd-r18-r101_ibn", []),
}
BATCHES = (1, 8, 32)
SECONDS = 6.0
PAUSE = 0.05


def measure(sessions: dict[str, fastrt.Session], batch: np.ndarray, seconds: float = SECONDS) -> dict[str, float]:
    """The median latency of each session, in ms a batch."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for session in sessions.values():
        session(batch)
    end = time.perf_counter() + seconds * len(sessions)
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, session in sessions.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            session(batch)
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def main() -> None:
    rows = []
    rng = np.random.default_rng(0)
    for title, (preset, overrides) in MODELS.items():
        spec = fastrt.load_spec(preset, overrides)
        network = fastrt.build_network(spec, draw_weights(spec))
        with tempfile.TemporaryDirectory() as folder:
            paths = {"openvino": Path(folder) / "engine.xml", "onnxruntime": Path(folder) / "engine.onnx"}
            for path in paths.values():
                fastrt.build(network, path)
            sessions = {name: fastrt.load(path, batch=max(BATCHES)) for name, path in paths.items()}
            for count in BATCHES:
                batch = rng.integers(0, 256, (count, *spec.image_size, 3)).astype(np.uint8)
                latency = measure(sessions, batch)
                row = {
                    "model": title,
                    "batch": count,
                    **{f"{name}_ms": round(value, 2) for name, value in latency.items()},
                    "ratio": round(latency["openvino"] / latency["onnxruntime"], 3),
                }
                rows.append(row)
                print(row, flush=True)
            for session in sessions.values():
                session.close()
    RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""A loaded ONNX file: an onnxruntime session."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError, TargetError
from fastrt.files import scratch_folder
from fastrt.targets.base import LayerTime, Runner, cannot_read
from fastrt.targets.engine_info import EngineInfo

KERNEL = "_kernel_time"
"""Suffix of the events that hold the time of a node's kernel, in microseconds."""


class OnnxRunner(Runner):
    """An onnxruntime session that any number of threads may share."""

    def __init__(self, session: Any, info: EngineInfo, names: list[str], open_profiled: Callable[[str], Any]) -> None:
        super().__init__(session, info)
        self._names = names
        self._open_profiled = open_profiled
        self._input = session.get_inputs()[0].name

    def run(self, batch: Array) -> Embeddings:
        embeddings: Embeddings = self._run(batch, [self.engine.get_outputs()[0].name])[0]
        return embeddings.reshape(len(batch), -1)

    def run_intermediate(self, batch: Array) -> Mapping[str, Array]:
        return dict(zip(self._names, self._run(batch, self._names), strict=True))

    def time_layers(self, size: int, runs: int = 40) -> list[LayerTime]:
        """Time each node by onnxruntime's profiler, in a session of its own."""
        batch = self.draw_noise(size)
        self.run(batch)  # fails as `run` does
        with scratch_folder() as folder:
            session = self._open_profiled(f"{folder}/profile")
            for _ in range(runs + 1):
                session.run(None, {self._input: batch})
            events = json.loads(Path(session.end_profiling()).read_text())
        found: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith(KERNEL):
                found.setdefault(event["name"].removesuffix(KERNEL), []).append(event)
        return [
            # the first run allocates the memory
            LayerTime(name, nodes[0]["args"]["op_name"], float(median(node["dur"] for node in nodes[1:])))
            for name, nodes in found.items()
        ]

    def _run(self, batch: Array, names: list[str]) -> list[Array]:
        session = self.engine
        try:
            results: list[Array] = session.run(names, {self._input: batch})
        except Exception as error:  # onnxruntime's exceptions share no other base class
            raise EngineError(f"onnx: onnxruntime failed on a batch of shape {batch.shape} ({error})") from error
        return results


def open_session(model: str | bytes, path: Path, profile: str | None = None) -> Any:
    """Open an onnxruntime session from a file's path or content; ``profile`` begins the path of its profile, if any."""
    try:
        import onnxruntime
    except ImportError:
        raise TargetError("onnx: onnxruntime is not installed. Run pip install 'fastrt[onnx]'.") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no other base class
        raise cannot_read(path, "an ONNX engine", error, next(iter(str(error).splitlines()), "")) from None

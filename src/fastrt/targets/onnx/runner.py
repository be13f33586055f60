"""A loaded ONNX file: an onnxruntime session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastrt.arrays import Array, Embeddings
from fastrt.errors import EngineError, TargetError
from fastrt.targets.base import Runner
from fastrt.targets.engine_info import EngineInfo


class OnnxRunner(Runner):
    """An onnxruntime session that any number of threads may share."""

    def __init__(self, session: Any, info: EngineInfo, names: list[str]) -> None:
        super().__init__(session, info)
        self._names = names
        self._input = session.get_inputs()[0].name

    def run(self, batch: Array) -> Embeddings:
        embeddings: Embeddings = self._run(batch, [self.engine.get_outputs()[0].name])[0]
        return embeddings.reshape(len(batch), -1)

    def run_intermediate(self, batch: Array) -> Mapping[str, Array]:
        return dict(zip(self._names, self._run(batch, self._names), strict=True))

    def _run(self, batch: Array, names: list[str]) -> list[Array]:
        session = self.engine
        try:
            results: list[Array] = session.run(names, {self._input: batch})
        except Exception as error:  # onnxruntime's exceptions share no other base class
            raise EngineError(f"onnx: onnxruntime failed on a batch of shape {batch.shape} ({error})") from error
        return results


def open_session(model: str | bytes, path: Path) -> Any:
    """Open an onnxruntime session from a file's path or content."""
    try:
        import onnxruntime
    except ImportError:
        raise TargetError("onnx: onnxruntime is not installed. Run pip install 'fastrt[onnx]'.") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no other base class
        reason = str(error).splitlines()[0]
        raise EngineError(f"{path}: not an ONNX engine, or damaged ({reason}). Build it again.") from None

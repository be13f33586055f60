"""The table of targets: one row per target, readable without its runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One target.

    Attributes:
        name: the name that users pass.
        target: module and name of its `Target` class; imported on first use, together with the runtime.
        suffixes: suffixes of its engine files, with the dot; new files get the first.
        companions: suffixes of the files that accompany an engine file in the same folder.
        device: the default device of its engines.
        batches: the default batches of its engines; see `BuildOptions`. Empty for a target without batch-size tuning.
        precisions: the precisions available on some host, widest first; see `Target.precisions` for this host.
        strongly_typed: whether the runtime is strongly typed, so that the network must contain casts.
    """

    name: str
    target: str
    suffixes: tuple[str, ...]
    companions: tuple[str, ...] = ()
    device: str = "cpu"
    batches: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ("fp32", "int8")
    strongly_typed: bool = False

    def list_files(self, path: Path) -> list[Path]:
        """List an engine file and its companions, those that exist."""
        return [file for file in (path, *map(path.with_suffix, self.companions)) if file.is_file()]


_TENSORRT = Row(
    "tensorrt",
    "fastrt.targets.tensorrt.target:TensorRtTarget",
    (".engine", ".plan", ".trt"),
    device="cuda:0",
    batches=(1, 8, 32),
    precisions=("fp32", "tf32", "fp16", "bf16", "int8"),
    strongly_typed=True,
)

ROWS = {
    row.name: row
    for row in (
        Row(
            "openvino",
            "fastrt.targets.openvino.target:OpenVinoTarget",
            (".xml",),
            (".bin",),
            precisions=("fp32", "bf16", "fp16", "int8"),
        ),
        Row("onnx", "fastrt.targets.onnx.target:OnnxTarget", (".onnx",)),
        Row("reference", "fastrt.targets.reference.target:ReferenceTarget", (".npz",)),
        _TENSORRT,
        replace(
            _TENSORRT,
            name="tensorrt-rtx",
            target="fastrt.targets.tensorrt.target:TensorRtRtxTarget",
            suffixes=(".rtx",),
        ),
    )
}
"""All targets by name, the default first."""

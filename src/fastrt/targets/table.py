"""The table of targets: one row each, readable without the target's runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One target.

    Attributes:
        name: as the user says it.
        module: the module of its `Target`; only the one in use is imported, and its runtime with it.
        class_name: the name of the `Target` there.
        suffixes: of its engine files, with the dot; new files get the first.
        companions: suffixes of the files that belong to an engine file and stand beside it.
        device: the default device of its engines.
        batches: the default batches of its engines; see `BuildOptions`. Empty where one engine takes any batch alike.
        precisions: all that it computes in on some host, widest first; `Target.precisions` tells of this host.
        typed: whether precision must stand in the network, as casts.
    """

    name: str
    module: str
    class_name: str
    suffixes: tuple[str, ...]
    companions: tuple[str, ...] = ()
    device: str = "cpu"
    batches: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ("fp32", "int8")
    typed: bool = False

    def list_files(self, path: Path) -> list[Path]:
        """An engine file and its companions, those that exist."""
        return [file for file in (path, *map(path.with_suffix, self.companions)) if file.is_file()]


_TENSORRT = "fastrt.targets.tensorrt.target"
_ON_GPU = ("fp32", "tf32", "fp16", "bf16", "int8")

ROWS = {
    row.name: row
    for row in (
        Row(
            "openvino",
            "fastrt.targets.openvino.target",
            "OpenVinoTarget",
            (".xml",),
            (".bin",),
            precisions=("fp32", "bf16", "fp16", "int8"),
        ),
        Row("onnx", "fastrt.targets.onnx.target", "OnnxTarget", (".onnx",)),
        Row("reference", "fastrt.targets.reference.target", "ReferenceTarget", (".npz",)),
        Row(
            "tensorrt",
            _TENSORRT,
            "TensorRtTarget",
            (".engine", ".plan", ".trt"),
            device="cuda:0",
            batches=(1, 8, 32),
            precisions=_ON_GPU,
            typed=True,
        ),
        Row(
            "tensorrt-rtx",
            _TENSORRT,
            "TensorRtRtxTarget",
            (".rtx",),
            device="cuda:0",
            batches=(1, 8, 32),
            precisions=_ON_GPU,
            typed=True,
        ),
    )
}
"""Every target by name, the default one first."""

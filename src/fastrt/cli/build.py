"""``fastrt build``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from fastrt.building import BuildReport, build
from fastrt.cli.arguments import (
    AsJson,
    Checkpoint,
    Config,
    Guess,
    Key,
    Overrides,
    ResizedBy,
    split_numbers,
    split_pairs,
)
from fastrt.cli.output import list_checks, say, say_json
from fastrt.cli.progress import progress_of_phases
from fastrt.engine.build import default_timing_cache
from fastrt.engine.calibration_table import read_table
from fastrt.files import refuse_inputs
from fastrt.models.load import load_model
from fastrt.models.spec import ModelSpec
from fastrt.quantization.report import report_paths
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Io, Precision
from fastrt.targets.registry import choose_target
from fastrt.targets.table import ROWS

Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        help="The engine: .xml (openvino), .onnx, .npz (reference), .engine (tensorrt) or .rtx (tensorrt-rtx).",
    ),
]
TargetName = Annotated[
    Literal["openvino", "onnx", "reference", "tensorrt", "tensorrt-rtx"] | None,
    typer.Option(help="The runtime; inferred from the suffix if left out."),
]
InputProfile = Annotated[
    Io, typer.Option(help="Input: uint8 BGR pixels as of OpenCV, or float32 RGB planes from 0 to 255.")
]
Calibration = Annotated[
    Path | None, typer.Option(help="int8: the table of fastrt calibrate for this checkpoint.", show_default=False)
]
MinSimilarity = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="int8: the least mean-centred cosine to fp32; layers are excluded from int8 until it holds.",
        show_default=False,
    ),
]
ComparedImages = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="int8: images to compare with fp32 on; by default those that calibration did not use. Repeatable.",
        show_default=False,
    ),
]
Raw = Annotated[bool, typer.Option("--raw", help="Embeddings as FastReID returns them, not of unit length.")]
Batches = Annotated[
    str | None,
    typer.Option(
        help="TensorRT: batches to tune for; 1,8,32 is for 1, 2 to 8, and 9 to 32 images.", show_default=False
    ),
]
VersionCompatible = Annotated[
    bool, typer.Option("--version-compatible", help="TensorRT: later versions may load the plan.")
]
HardwareCompatible = Annotated[
    bool, typer.Option("--hardware-compatible", help="TensorRT: other GPUs, of Ampere and later, may load the plan.")
]
Capabilities = Annotated[
    list[str] | None, typer.Option(help="TensorRT-RTX: a GPU to build for, sm89. Repeatable.", show_default=False)
]
TimingCache = Annotated[Path | None, typer.Option(help="TensorRT: file of the timing cache.", show_default=False)]
Checked = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check",
        help="Compare the engine with the reference; by default in int8 and for tensorrt.",
        show_default=False,
    ),
]


def run(
    checkpoint: Checkpoint,
    output: Output,
    config: Config = None,
    overrides: Overrides = None,
    guess: Guess = False,
    key: Key = None,
    target: TargetName = None,
    precision: Annotated[Precision, typer.Option(help="Precision of the computation.")] = "fp32",
    io: InputProfile = "u8_nhwc_bgr",
    resampler: ResizedBy = None,
    calibration: Calibration = None,
    min_similarity: MinSimilarity = None,
    images: ComparedImages = None,
    raw: Raw = False,
    batch: Batches = None,
    version_compatible: VersionCompatible = False,
    hardware_compatible: HardwareCompatible = False,
    capability: Capabilities = None,
    timing_cache: TimingCache = None,
    check: Checked = None,
    as_json: AsJson = False,
) -> None:
    """Build an engine from a checkpoint."""
    chosen = choose_target(output, target, precision)
    companions = map(output.with_suffix, ROWS[chosen.name].companions)
    refuse_inputs([output, *companions], [checkpoint, config, calibration, *(images or ())])
    network = load_model(checkpoint, config, split_pairs(overrides), guess=guess, key=key).network()
    with progress_of_phases() as advance:
        advance("building", 0, 0)
        options = BuildOptions(
            batches=() if batch is None else split_numbers(batch),
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            compute_capabilities=tuple(capability or ()),
            timing_cache=timing_cache or (default_timing_cache() if chosen.measures else None),
            progress=advance,
        )
        report = build(
            network,
            output,
            target,
            precision,
            normalize=not raw,
            io=io,
            resampler=resampler,
            options=options,
            check=check,
            table=None if calibration is None else read_table(calibration),
            min_similarity=min_similarity,
            images=images,
            compare=precision == "int8",
        )
    reports = () if report.quantization is None else report_paths(output)
    title = ModelSpec(**network.spec).title  # of what was built, where a checkpoint and its config differ
    if as_json:
        say_json(_to_json(output, title, report, reports))
    else:
        *lines, summary = str(report).splitlines()
        if reports:
            lines.append(f"written to {' and '.join(map(str, reports))}")
        say("\n".join([*lines, f"{output}: {title}, {summary}"]))


def _to_json(output: Path, title: str, report: BuildReport, reports: Sequence[Path]) -> dict[str, object]:
    info, int8 = report.info, report.quantization
    return {
        "output": output,
        "model": title,
        **info.model_dump(include={"target", "precision", "image_size", "embedding_dim", "fingerprint"}),
        "checks": None if report.checks is None else list_checks(report.checks),
        "int8": None if int8 is None else int8.model_dump(mode="json"),
        "reports": reports,
    }

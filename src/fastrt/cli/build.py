"""``fastrt build``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from fastrt.building import BuildReport, build
from fastrt.cli.arguments import AsJson, Checkpoint, Config, Overrides, split_numbers, split_pairs
from fastrt.cli.output import list_checks, say, say_json
from fastrt.cli.progress import progress_of_phases
from fastrt.engine.build import default_timing_cache
from fastrt.engine.calibration_table import read_table
from fastrt.models.load import load_model
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Io, Precision, Resampler
from fastrt.targets.registry import choose_target


def run(
    checkpoint: Checkpoint,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The engine: .xml (openvino), .onnx, .npz (reference), .engine (tensorrt) or .rtx (tensorrt-rtx).",
        ),
    ],
    config: Config = None,
    overrides: Overrides = None,
    target: Annotated[
        Literal["openvino", "onnx", "reference", "tensorrt", "tensorrt-rtx"] | None,
        typer.Option(help="The runtime; inferred from the suffix if left out."),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Precision of the computation.")] = "fp32",
    io: Annotated[
        Io, typer.Option(help="Input: uint8 BGR pixels as of OpenCV, or float32 RGB planes from 0 to 255.")
    ] = "u8_nhwc_bgr",
    resampler: Annotated[Resampler, typer.Option(help="Method by which images are resized.")] = "pil-bicubic",
    calibration: Annotated[
        Path | None,
        typer.Option(help="int8: the table of fastrt calibrate for this checkpoint.", show_default=False),
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="int8: the least mean-centred cosine to fp32; convolutions are excluded from int8 until it holds.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="int8: images to compare with fp32 on; by default those that calibration left over. Repeatable.",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Embeddings as FastReID returns them, not of unit length.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            help="TensorRT: batches to tune for; 1,8,32 is for 1, 2 to 8, and 9 to 32 images.", show_default=False
        ),
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="TensorRT: later versions may load the plan.")
    ] = False,
    hardware_compatible: Annotated[
        bool,
        typer.Option("--hardware-compatible", help="TensorRT: other GPUs, of Ampere and later, may load the plan."),
    ] = False,
    capability: Annotated[
        list[str] | None, typer.Option(help="TensorRT-RTX: a GPU to build for, sm89. Repeatable.", show_default=False)
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="TensorRT: file of the timing cache.", show_default=False)
    ] = None,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Compare the engine with the reference; by default in int8 and for tensorrt.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build an engine from a checkpoint."""
    model = load_model(checkpoint, config, split_pairs(overrides))
    network = model.network()
    chosen = choose_target(output, target, precision)
    with progress_of_phases() as advance:
        advance("building", 0, 0)
        report = build(
            network,
            output,
            target,
            precision,
            normalize=not raw,
            io=io,
            resampler=resampler,
            options=BuildOptions(
                batches=() if batch is None else split_numbers(batch),
                version_compatible=version_compatible,
                hardware_compatible=hardware_compatible,
                compute_capabilities=tuple(capability or ()),
                timing_cache=timing_cache or (default_timing_cache() if chosen.measures else None),
                progress=advance,
            ),
            check=check,
            table=None if calibration is None else read_table(calibration),
            min_similarity=min_similarity,
            images=images,
            compare=precision == "int8",
        )
    files = () if report.quantization is None else report.quantization.save(output)
    if as_json:
        say_json(_to_json(output, model.spec.title, report, files))
    else:
        say(_to_text(output, model.spec.title, report, files))
    if not report:
        raise typer.Exit(1)


def _to_json(output: Path, title: str, report: BuildReport, files: Sequence[Path]) -> dict[str, object]:
    info, int8 = report.info, report.quantization
    return {
        "output": output,
        "model": title,
        **info.model_dump(include={"target", "precision", "image_size", "embedding_dim", "fingerprint"}),
        "checks": None if report.checks is None else list_checks(report.checks),
        "verified": None if report.verified is None else list_checks(report.verified),
        "int8": None if int8 is None else int8.model_dump(mode="json"),
        "reports": files,
    }


def _to_text(output: Path, title: str, report: BuildReport, files: Sequence[Path]) -> str:
    lines = [line for found in (report.checks, report.verified) if found is not None for line in found.lines()]
    if report.quantization is not None:
        lines += [str(report.quantization), f"written to {' and '.join(map(str, files))}"]
    info = report.info
    height, width = info.image_size
    lines.append(f"{output}: {title}, {height}x{width} to {info.embedding_dim}, {info.target} {info.precision}")
    return "\n".join(lines)

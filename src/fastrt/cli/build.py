"""``fastrt build``."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

import fastrt
from fastrt.cli.arguments import Checkpoint, Config, Overrides, split_numbers, split_pairs
from fastrt.cli.output import progress_of_phases, say, say_note
from fastrt.engine.build import default_check, default_timing_cache
from fastrt.engine.calibration_table import read_table
from fastrt.engine.session import Session
from fastrt.engine.verify import Report, verify
from fastrt.errors import CalibrationError, TargetError
from fastrt.models.load import load_model
from fastrt.quantization.int8_images import Judge
from fastrt.quantization.layer_timing import keep_slower
from fastrt.quantization.report import QuantizationReport
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo, Io, Precision, Resampler
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
        typer.Option(help="The runtime; told by the suffix if left out."),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="What the engine computes in.")] = "fp32",
    io: Annotated[
        Io, typer.Option(help="What it takes: OpenCV's bytes, or float planes of RGB from 0 to 255.")
    ] = "u8_nhwc_bgr",
    resampler: Annotated[Resampler, typer.Option(help="How images are brought to its size.")] = "pil-bicubic",
    calibration: Annotated[
        Path | None,
        typer.Option(help="int8: the table that fastrt calibrate made of this checkpoint.", show_default=False),
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="int8: the least mean-centred cosine to fp32; convolutions are kept from int8 until it holds.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="int8: what it is judged on; those that calibration left over if left out. Repeatable.",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Embeddings as FastReID returns them, not of unit length.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            help="TensorRT: what to tune for; 1,8,32 is for 1, 2 to 8, and 9 to 32 images.", show_default=False
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
        Path | None, typer.Option(help="TensorRT: where measured timings are kept.", show_default=False)
    ] = None,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Compare the engine with the reference; by default in int8 and for tensorrt.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build an engine from a checkpoint."""
    model = load_model(checkpoint, config, split_pairs(overrides))
    for note in model.notes:
        say_note(note)
    network = model.network()
    table = read_table(calibration) if calibration is not None else None
    if precision != "int8" and (min_similarity is not None or images):
        raise CalibrationError(f"--min-similarity and --images are for int8, and {precision} was asked for")
    chosen = choose_target(output, target, precision)
    reports: list[Report] = []
    notes: list[str] = []

    checking = (
        partial(verify, network=network, table=table if precision == "int8" else None)
        if check
        else default_check(chosen, network, table, min_similarity)
    )

    def measure(session: Session) -> Report:
        assert checking is not None
        reports.append(checking(session))
        return reports[-1]

    with progress_of_phases() as advance:
        options = BuildOptions(
            batches=() if batch is None else split_numbers(batch),
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            compute_capabilities=tuple(capability or ()),
            timing_cache=timing_cache or (default_timing_cache() if chosen.measures else None),
            progress=advance,
        )
        make = partial(
            fastrt.build,
            network,
            target=target,
            normalize=not raw,
            io=io,
            resampler=resampler,
            options=options,
        )

        def make_trial(path: Path, precision: Precision, kept: Collection[str]) -> EngineInfo:
            """An engine to be measured and thrown away."""
            return make(path, precision=precision, table=table if precision == "int8" else None, kept=kept, check=False)

        judge = Judge(network, table, images, advance) if table is not None and precision == "int8" else None
        kept: tuple[str, ...] = ()
        if judge is not None and min_similarity is not None:
            kept = judge.mix(chosen.name, min_similarity).kept
            if chosen.measures:
                pace = keep_slower(network, chosen.name, kept, make_trial, advance)
                notes.append(str(pace))
                kept = pace.kept
        info = make(
            output,
            precision=precision,
            table=table,
            kept=kept,
            min_similarity=min_similarity,
            check=measure if checking is not None and check is not False else False,
        )
        comparison = None if judge is None else _compare(judge, output)
    for note in notes:
        say_note(note)
    for report in reports:
        say(str(report))
    if comparison is not None:
        files = comparison.save(output)
        say(f"{comparison}\nwritten down in {files[0]} and {files[1]}")
    height, width = info.image_size
    say(f"{output}: {model.spec.title}, {height}x{width} to {info.embedding_dim}, {info.target} {info.precision}")


def _compare(judge: Judge, engine: Path) -> QuantizationReport | None:
    """What int8 changed; None, said aloud, for an engine that runs on other machines alone."""
    try:
        return judge.compare(engine)
    except TargetError as error:
        say_note(f"what int8 changed is not measured, as the engine cannot run here: {error}")
        return None

"""``fastrt build``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import fastrt.engine
from fastrt.cli.arguments import Checkpoint, Config, Overrides, split_pairs
from fastrt.cli.output import say, say_note
from fastrt.engine_info import Io, Precision, Resampler
from fastrt.model import load_model


def run(
    checkpoint: Checkpoint,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The engine: .xml (openvino), .onnx or .npz (reference).")
    ],
    config: Config = None,
    overrides: Overrides = None,
    target: Annotated[
        Literal["openvino", "onnx", "reference"] | None,
        typer.Option(help="The runtime; told by the suffix if left out."),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="What the engine computes in.")] = "fp32",
    io: Annotated[
        Io, typer.Option(help="What it takes: OpenCV's bytes, or float planes of RGB from 0 to 255.")
    ] = "u8_nhwc_bgr",
    resampler: Annotated[Resampler, typer.Option(help="How images are brought to its size.")] = "pil-bicubic",
    raw: Annotated[
        bool, typer.Option("--raw", help="Embeddings as FastReID returns them, not of unit length.")
    ] = False,
) -> None:
    """Build an engine from a checkpoint."""
    model = load_model(checkpoint, config, split_pairs(overrides))
    for note in model.notes:
        say_note(note)
    network = model.network()
    info = fastrt.engine.build(network, output, target, precision, normalize=not raw, io=io, resampler=resampler)
    height, width = info.image_size
    say(f"{output}: {model.spec.title}, {height}x{width} to {info.embedding_dim}, {info.target} {info.precision}")

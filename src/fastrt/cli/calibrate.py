"""``fastrt calibrate``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import Checkpoint, Config, Overrides, split_pairs
from fastrt.cli.output import progress_bar, say, say_note, say_passed_over
from fastrt.engine.calibration_table import Method
from fastrt.extraction import find_images
from fastrt.files import check_place
from fastrt.images.sample import ImageSample
from fastrt.models.load import load_model
from fastrt.quantization.calibrate import calibrate
from fastrt.targets.engine_info import Resampler


def run(
    checkpoint: Checkpoint,
    images: Annotated[
        list[str],
        typer.Option("--images", metavar="DIR", help="Images, folders, or patterns. Repeatable.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The table: a .json.")],
    config: Config = None,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 512,
    method: Annotated[Method, typer.Option(help="Which values are worth representing.")] = "entropy",
    seed: Annotated[int, typer.Option(min=0, help="Draws the images.")] = 0,
    correct_bias: Annotated[
        bool, typer.Option("--bias-correction/--no-bias-correction", help="Let biases make up for rounded weights.")
    ] = True,
    resampler: Annotated[Resampler, typer.Option(help="How images are brought to its size.")] = "pil-bicubic",
) -> None:
    """Find the ranges of a network's tensors on images like those it will see, for int8."""
    check_place(output)
    found = find_images(images)
    say_passed_over(found.passed_over)
    model = load_model(checkpoint, config, split_pairs(overrides))
    for note in model.notes:
        say_note(note)
    sample = ImageSample(found.images, count, seed)
    with progress_bar() as progress:
        task = progress.add_task("calibrating", total=count)
        table = calibrate(
            model.network(),
            sample,
            method,
            resampler=resampler,
            correct_bias=correct_bias,
            advance=lambda done: progress.advance(task, done),
        )
    table.save(output)
    if sample.duplicates:
        say_note(f"{len(sample.duplicates)} images repeat another, first {sample.duplicates[0]}: left out")
    for _, reason in sample.unreadable:
        say_note(f"{reason}: left out")
    say(f"{output}: ranges of {len(table.ranges)} tensors by {table.summary} of {len(found.images)}")

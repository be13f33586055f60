"""``fastrt calibrate``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import AsJson, Checkpoint, Config, Guess, Key, Overrides, ResizedBy, split_pairs
from fastrt.cli.output import say_note, say_result
from fastrt.cli.progress import progress_bar
from fastrt.engine.calibration_table import Method
from fastrt.extraction import find_images
from fastrt.files import check_place, check_suffix, refuse_inputs
from fastrt.images.sample import ImageSample
from fastrt.models.load import load_model
from fastrt.quantization.calibrate import calibrate


def run(
    checkpoint: Checkpoint,
    images: Annotated[
        list[str],
        typer.Option("--images", metavar="DIR", help="Images, folders, or patterns. Repeatable.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output: the calibration table, a .json.")],
    config: Config = None,
    overrides: Overrides = None,
    guess: Guess = False,
    key: Key = None,
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 512,
    method: Annotated[Method, typer.Option(help="Method that chooses the ranges.")] = "entropy",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the sample.")] = 0,
    correct_bias: Annotated[
        bool,
        typer.Option("--bias-correction/--no-bias-correction", help="Correct biases for the error of rounded weights."),
    ] = True,
    resampler: ResizedBy = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate the ranges of a network's tensors for int8, on images like those in use."""
    check_suffix(output, ".json")
    check_place(output)
    refuse_inputs([output], [checkpoint, config, *images])
    found = find_images(images)
    model = load_model(checkpoint, config, split_pairs(overrides), guess=guess, key=key)
    sample = ImageSample(found.images, count, seed)
    with progress_bar() as progress:
        task = progress.add_task("calibrating", total=min(count, len(found.images)))
        table = calibrate(
            model.network(),
            sample,
            method,
            resampler=resampler,
            correct_bias=correct_bias,
            advance=lambda done: progress.advance(task, done),
        )
    if sample.duplicates:
        say_note(f"left out: {len(sample.duplicates)} duplicate images, first {sample.duplicates[0]}")
    for _, reason in sample.unreadable:
        say_note(f"left out: {reason}")
    table.save(output)
    result = {
        "output": output,
        "tensors": len(table.ranges),
        "method": table.method,
        "images": len(table.images),
        "found": len(found.images),
        "duplicates": sample.duplicates,
        "unreadable": [{"image": image, "reason": reason} for image, reason in sample.unreadable],
    }
    text = f"{output}: ranges of {len(table.ranges)} tensors by {table.summary} of {len(found.images)}"
    say_result(result, text, as_json)

"""``fastrt verify``."""

from pathlib import Path
from typing import Annotated

import typer

from fastrt.cli.arguments import AsJson, Checkpoint, Config, Device, Engine, Guess, Key, Overrides, split_pairs
from fastrt.cli.output import say, say_json
from fastrt.engine.calibration_table import read_table
from fastrt.engine.load import describe, load
from fastrt.engine.verify import verify, verify_layers
from fastrt.errors import CalibrationError
from fastrt.extraction import find_images
from fastrt.images.sample import read_images
from fastrt.models.load import load_model

MOST = 64
"""Maximum number of images, because the reference is slow."""


def run(
    engine: Engine,
    checkpoint: Checkpoint,
    config: Config = None,
    overrides: Overrides = None,
    guess: Guess = False,
    key: Key = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare tensor by tensor, up to the first that differs.")
    ] = False,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help=f"Images to compare on, at most {MOST}; default: synthetic images. Repeatable.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="int8: the calibration table of the engine, to compare it with the int8 reference too.",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compare an engine's embeddings with the reference: FastReID's results for the checkpoint."""
    describe(engine)  # reports a wrong engine before reading a large checkpoint
    table = read_table(calibration) if calibration is not None else None
    if layers and table is not None:
        raise CalibrationError("verify: --calibration and --layers; expected one of them. Leave one out.")
    model = load_model(checkpoint, config, split_pairs(overrides), guess=guess, key=key)
    network = model.network()
    measured_on = read_images(find_images(images).images, count=MOST) if images else None
    if layers:
        report = verify_layers(engine, network, measured_on, device)
    else:
        with load(engine, device) as session:
            report = verify(session, network, measured_on, table)
    if as_json:
        checks = [{"name": check.name, "passed": check.passed, "figures": check.figures} for check in report.checks]
        say_json({"verified": bool(report), "checks": checks})
    else:
        say(str(report))
    if not report:
        raise typer.Exit(1)

"""Command line: one file per verb. Each parses its arguments, calls one function, and prints the result."""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

from fastrt.cli import benchmark, build, calibrate, convert, demo, embed, evaluate, inspect, match, verify
from fastrt.cli.arguments import complete, join_pairs
from fastrt.cli.output import Notes, say_error
from fastrt.errors import FastrtError, SpecNeededError
from fastrt.version import __version__

app = typer.Typer(
    name="fastrt",
    help="Deploy person re-identification networks: from a FastReID checkpoint to embeddings.",
    epilog="Results on stdout, progress and notes on stderr. Exit code 0: done, 1: a check failed, 2: an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (convert, inspect, calibrate, build, embed, verify, match, evaluate, benchmark, demo):
    app.command(verb.__name__.rpartition(".")[2])(verb.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fastrt {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; allowed at any position.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the ``fastrt`` command; exits with 0, 1 or 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # like stderr: a file name never causes an encoding error
    logger = logging.getLogger("fastrt")
    logger.handlers = [Notes()]
    logger.propagate = False
    try:
        app(join_pairs([argument for argument in arguments if argument != "--debug"]))
    except FastrtError as error:
        if debug:
            raise
        command = complete(arguments, error.options) if isinstance(error, SpecNeededError) else None
        say_error(str(error) if command is None else f"{error}\n  {command}")
    except KeyboardInterrupt:
        say_error("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
    except Exception as error:  # an internal error; the user still gets one message
        if debug:
            raise
        say_error(f"internal error: {type(error).__name__}: {error}. Please report it with the output of --debug.")
    sys.exit(2)

"""The command with all its verbs, and what they share: options, notes, and errors."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import PIL.Image
import typer

from fastrt.cli import (
    benchmark,
    build,
    calibrate,
    convert,
    demo,
    doctor,
    embed,
    evaluate,
    inspect,
    interrupts,
    match,
    verify,
)
from fastrt.cli.arguments import join_pairs
from fastrt.cli.explain import explain
from fastrt.cli.output import Notes, say_error, say_note
from fastrt.errors import FastrtError
from fastrt.version import __version__


class EmptyError(FastrtError):
    """An argument of a command that is empty."""


VERBS = (convert, inspect, calibrate, build, embed, verify, match, evaluate, benchmark, demo, doctor)

app = typer.Typer(
    name="fastrt",
    help="Deploy person re-identification networks: from a FastReID checkpoint to embeddings.",
    epilog="Results on stdout, progress and notes on stderr. Exit code 0: done, 1: a check failed, 2: an error,"
    " 130: interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in VERBS:
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
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A note is an error: the command ends with 2 at the first, before its output appears;"
            " allowed at any position.",
        ),
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0 done, 1 measured and failed, 2 could not.

    Nothing of the calling process changes for good: the logger ``fastrt`` and stdout are as before.

    Raises:
        KeyboardInterrupt: the command was interrupted.
        Exception: the reason why it failed, with ``--debug``.
    """
    words, flags = _take_flags(arguments)
    with _prints_notes(is_strict="--strict" in flags), _quiets_libtiff(), _escapes_names():
        try:
            _refuse_empty(words)
            code = app(join_pairs(words) or ["--help"], prog_name="fastrt", standalone_mode=False)
            sys.stdout.flush()
        except typer.Abort:
            raise KeyboardInterrupt from None
        except BrokenPipeError:  # the reader of stdout has what it wanted
            _drop_stdout()
        except Exception as error:
            interrupts.check()  # an interrupted import may fail with another exception
            if "--debug" in flags:
                raise
            say_error(explain(error, words, app))
            _drop_stdout()
        else:
            return code if isinstance(code, int) else 0
    return 2


def _take_flags(arguments: Sequence[str]) -> tuple[list[str], set[str]]:
    """Split the arguments into words for the verb, and flags that may stand anywhere before ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = {word for word in arguments[:end] if word in ("--debug", "--strict")}
    return [*(word for word in arguments[:end] if word not in flags), *arguments[end:]], flags


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse an empty word: it would be the current folder, or a default.

    Raises:
        EmptyError: a word, or the value behind ``=``, is empty.
    """
    for before, word in zip(("fastrt", *words), words, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            where = before if word == "" else word
            raise EmptyError(f"{where}: an empty value follows; expected one. Check the variables of the command line.")


@contextmanager
def _prints_notes(*, is_strict: bool) -> Iterator[None]:
    """Print warnings of the logger ``fastrt``, and those of Python, as notes, in the block only."""
    logger = logging.getLogger("fastrt")
    before = logger.handlers, logger.propagate, logger.level, logger.disabled
    logger.handlers, logger.propagate, logger.disabled = [Notes(is_strict=is_strict)], False, False
    logger.setLevel(logging.WARNING)
    show, warnings.showwarning = warnings.showwarning, _note_warning
    try:
        yield
    finally:
        warnings.showwarning = show
        logger.handlers, logger.propagate, _, logger.disabled = before
        logger.setLevel(before[2])


def _note_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Log a warning of Python; images of too many pixels are refused, so Pillow need not warn of them."""
    if category.__name__ != "DecompressionBombWarning":
        say_note(" ".join(str(message).split()))


@contextmanager
def _quiets_libtiff() -> Iterator[None]:
    """Let libtiff print nothing, in the block only: Pillow raises an error for each of its messages."""
    try:
        set_handler = ctypes.CDLL(PIL.Image.core.__file__).TIFFSetErrorHandler  # type: ignore[attr-defined]
    except (OSError, AttributeError):  # a Pillow without libtiff, or with one that is hidden
        yield
        return
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    handler = set_handler(None)
    try:
        yield
    finally:
        set_handler(handler)


@contextmanager
def _escapes_names() -> Iterator[None]:
    """Let stdout escape what it cannot encode, like stderr: a file name never causes an error, in the block only."""
    stdout: Any = sys.stdout
    if not isinstance(stdout, io.TextIOWrapper):
        yield
        return
    errors = stdout.errors
    stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # what could not be flushed was reported before
            stdout.reconfigure(errors=errors)


def _drop_stdout() -> None:
    """Forget what could not be printed; else the interpreter tries again at its end, and reports it."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)

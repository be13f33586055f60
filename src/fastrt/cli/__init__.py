"""Command line: one file per verb. Each parses its arguments, calls one function, and prints the result.

Importing this package imports nothing else, so that Ctrl-C ends the command quietly from the first moment.
"""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130


class Interrupts:
    """Handler of Ctrl-C: the first one stops a running command, and any other ends the process at once.

    Attributes:
        is_running: True from the start of a command to its end or to the first Ctrl-C.
        count: number of signals.
    """

    def __init__(self) -> None:
        self.is_running = False
        self.count = 0
        self._process = os.getpid()

    def __call__(self, *_: object) -> None:
        """Handle a signal."""
        self.count += 1
        if not self.is_running or os.getpid() != self._process:  # a library's fork has this handler, too
            os._exit(INTERRUPTED)
        self.is_running = False
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt again, in case that the first was swallowed: some imports take it for their error."""
        if self.count:
            raise KeyboardInterrupt


interrupts = Interrupts()
"""Those of this process, if it belongs to the command."""


def main(arguments: list[str] | None = None) -> None:
    """Run the ``fastrt`` command; exits with 0, 1 or 2, or with 130 after Ctrl-C.

    Args:
        arguments: the words after ``fastrt``. None: those of this process, which then belongs to the command.

    Raises:
        Exception: the reason why the command failed, if ``arguments`` are given with ``--debug``.
    """
    _open_closed_streams()
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupts)
    try:
        from fastrt.cli.app import run  # takes a while

        interrupts.is_running = True
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception:  # only with --debug
        if arguments is not None:
            raise
        import traceback

        traceback.print_exc()
        code = 2
    interrupts.is_running = False
    # An interrupted import may end with another exception than KeyboardInterrupt.
    sys.exit(INTERRUPTED if interrupts.count else code)


def _open_closed_streams() -> None:
    """Open standard streams that were closed before the start: else the next file that is opened has their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  # to the end

"""How benchmarks end on wrong input: with 2, and a sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fastrt.errors import FastrtError


def run_command(main: Callable[[], None]) -> None:
    """Run a command; what fastrt raises, or a peer that is not installed, is said in a sentence, and ends it with 2."""
    try:
        main()
    except (FastrtError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

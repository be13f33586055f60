"""What TensorRT says while it works. It reports faults through a logger alone, so the logger keeps them."""

from __future__ import annotations

import logging
import re

from fastrt.targets.tensorrt.capabilities import Trt

logger = logging.getLogger("fastrt.tensorrt")

PLACE = re.compile(r"^\d+: |\[\w+\.cpp::[^\]]*\]\s*|\(\w+::\w+::\d+\)|^Error Code \d+: |^API Usage Error ", re.ASCII)
"""Numbers and files of TensorRT's own source, which tell its users nothing."""


def make_logger(trt: Trt) -> Trt:
    """A logger whose ``errors`` are the faults that TensorRT reported, oldest first; the rest goes to `logging`."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the base class is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Trt, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            else:
                logger.debug("%s", message)

    return Logger()


def last_fault(errors: list[str]) -> str:
    """What went wrong, in TensorRT's words, without the places in its source."""
    if not errors:
        return "it gave no reason"
    # The first message names the tensor; those after it say what else could not be done because of it.
    text = errors[0]
    for _ in range(3):
        text = PLACE.sub("", text.strip())
    return " ".join(text.split()).strip(" .")

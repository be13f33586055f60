"""TensorRT's log messages. TensorRT reports errors only through a logger, so the logger stores them."""

from __future__ import annotations

import logging
import re

from fastrt.targets.tensorrt.capabilities import Trt

logger = logging.getLogger("fastrt.tensorrt")

PLACE = re.compile(r"^\d+: |\[\w+\.cpp::[^\]]*\]\s*|\(\w+::\w+::\d+\)|^Error Code \d+: |^API Usage Error ", re.ASCII)
"""Error numbers and source locations of TensorRT, which do not help users."""


def make_logger(trt: Trt) -> Trt:
    """Create a logger that stores TensorRT's errors in ``errors``, oldest first; the rest goes to `logging`."""

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


def describe_error(errors: list[str]) -> str:
    """Return the first of TensorRT's error messages, without source locations."""
    if not errors:
        return "TensorRT reports no reason"
    # The first message names the tensor; later messages report consequences.
    text = errors[0]
    for _ in range(3):
        text = PLACE.sub("", text.strip())
    return " ".join(text.split()).strip(" .")

"""The calibration table: ranges by tensor name, as readable JSON with one tensor per line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fastrt.errors import CalibrationError, OutputError
from fastrt.files import ESCAPED, check_suffix, written_whole
from fastrt.ir.network import Network
from fastrt.passes.quantize import Placement, quantize
from fastrt.signatures import checked
from fastrt.targets.engine_info import Resampler

Method = Literal["minmax", "percentile", "entropy", "mse"]
"""Methods to choose the largest magnitude to represent; see `fastrt.quantization.methods`."""

ROUNDING = 1e-6
"""Largest relative difference of equal values in a table."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class TensorRange(BaseModel):
    """The range of a tensor's values.

    Attributes:
        low: minimum.
        high: maximum.
        amax: the largest magnitude to represent, chosen by the table's method.
        saturated: fraction of the values beyond ``amax``, 0 to 1.

    ``low`` is at most ``high``, ``amax`` is at most their magnitude, and it is 0 only if both are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Finite
    high: Finite
    amax: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    saturated: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _check(self) -> TensorRange:
        if self.low > self.high:
            raise PydanticCustomError("range", "low is above high")
        if self.amax == 0 and (self.low, self.high) != (0, 0):
            raise PydanticCustomError("range", "amax is 0, and the values are not")
        if self.amax > (1 + ROUNDING) * max(abs(self.low), abs(self.high)):
            raise PydanticCustomError("range", "amax is above all values")
        return self


class CalibrationTable(BaseModel):
    """Calibrated ranges of one network; each target derives its own scales from them.

    Attributes:
        format: version of the file format.
        fastrt: version of fastrt that wrote the file.
        fingerprint: the network's fingerprint.
        method: the method that chose ``amax``.
        image_size: ``(H, W)`` of the resized images.
        resampler: the method that resized them.
        seed: random seed of the images drawn from a folder; None if the caller passed single images.
        images: their absolute paths, or numbers if they have none. In the file, paths are relative to its folder.
        held_out: absolute paths of images in the same folder that calibration did not use.
        images_hash: SHA-256 of their pixels, as read.
        ranges: by tensor name.
        means: channel means of the inputs of convolutions and linear layers, by tensor name; empty for no bias
            correction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    fastrt: str
    fingerprint: str
    method: Method
    image_size: tuple[int, int]
    resampler: Resampler
    seed: int | None = None
    images: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    images_hash: str
    ranges: dict[str, TensorRange]
    means: dict[str, tuple[Finite, ...]]

    @property
    def summary(self) -> str:
        """``entropy, 512 images``."""
        return f"{self.method}, {len(self.images)} images"

    @property
    def digest(self) -> str:
        """SHA-256 of the ranges and means, by which an engine recognises its table."""
        content = self.model_dump_json(include={"ranges", "means"})
        return hashlib.sha256(content.encode()).hexdigest()

    def check(self, network: Network) -> None:
        """Raise `CalibrationError` if the table belongs to another network."""
        if self.fingerprint != network.fingerprint():
            raise CalibrationError(
                "calibration table: its checkpoint, config or version of fastrt is another; expected the network's."
                " Calibrate this network."
            )

    def quantize(self, simplified: Network, placement: Placement, kept: Collection[str] = ()) -> Network:
        """Quantize the network's convolutions and linear layers to int8; see `fastrt.passes.quantize.quantize`."""
        means = {name: np.asarray(mean) for name, mean in self.means.items()}
        return quantize(simplified, self.ranges, placement, kept, means)

    def _move_paths(self, move: Callable[[str], str]) -> CalibrationTable:
        """Change the paths of images; those of a caller's own images are numbers."""
        if self.seed is None:
            return self
        images, held_out = (tuple(map(move, names)) for names in (self.images, self.held_out))
        return self.model_copy(update={"images": images, "held_out": held_out})

    @checked(OutputError, "path")
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table; the file is complete or absent.

        Raises:
            OutputError: the file is not named ``.json``, or cannot be written.
        """
        check_suffix(Path(path), ".json")
        content = self._move_paths(lambda name: _relative(name, Path(path).parent)).model_dump(mode="json")
        lines = [f" {json.dumps(key)}: {_lines(value)}" for key, value in content.items()]
        with written_whole(path) as temporary:
            temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8", ESCAPED)


@checked(CalibrationError)
def read_table(path: str | os.PathLike[str]) -> CalibrationTable:
    """Read a table.

    Raises:
        CalibrationError: the file does not exist, or is not a calibration table.
    """
    try:
        # pydantic's own reader does not accept file names that are not UTF-8
        table = CalibrationTable.model_validate(json.loads(Path(path).read_bytes()))
        folder = Path(path).parent.absolute()
        return table._move_paths(lambda name: os.path.normpath(folder / name))  # noqa: SLF001
    except OSError as error:
        found = f"cannot be read ({error.strerror or error})"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        found = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg'].lower()}"
    except (ValueError, RecursionError) as error:
        found = f"is not JSON ({error})"
    raise CalibrationError(f"{path}: {found}; expected a calibration table. Make one with fastrt calibrate.")


def _relative(name: str, folder: Path) -> str:
    try:
        return os.path.relpath(name, folder)
    except ValueError:  # another drive of Windows
        return name


def _lines(value: object) -> str:
    """Format as JSON, with one line per entry of a dictionary."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    entries = (f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items())
    return "{\n" + ",\n".join(entries) + "\n }"

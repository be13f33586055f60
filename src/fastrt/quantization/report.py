"""Comparison of an int8 engine with other precisions: similarity, saturation, size and speed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from fastrt.arrays import Array, Image
from fastrt.engine.build import EngineConfig, write_engine
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.engine.load import describe, engine_size, load
from fastrt.files import hash_file, scratch_folder, written_whole
from fastrt.ir.network import Network
from fastrt.similarity import centred_cosines, nearest_agreement, rank_agreement
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Precision
from fastrt.targets.registry import find_target
from fastrt.timing.host import find_processor
from fastrt.timing.interleaved import BATCHES, compare_speed

TITLE = "# int8 compared with fp32"

PURE = "int8, no layer excluded"

COMPARED: tuple[Precision, ...] = ("fp32", "fp16")


class EngineRow(BaseModel):
    """One engine of a comparison: size in bytes, and images/s by batch, the median of several runs."""

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int
    images_s: dict[int, float]


class QuantizationReport(BaseModel):
    """The comparison of an int8 engine with fp32; ``print(report)`` shows it.

    Attributes:
        engine: SHA-256 of the engine file, for an ``.xml`` with the checksum of its ``.bin`` inside.
        target: the runtime, with its version.
        machine: CPU or GPU, and CPU cores, of the speed measurement.
        calibration: method and images of the calibration.
        images: number and origin of the compared images.
        least_similarity: least mean-centred cosine to fp32 over all images.
        mean_similarity: mean of the same.
        nearest: fraction of images with the same nearest image.
        ranks: Kendall's tau of each image's order of neighbours.
        kept: layers excluded from int8.
        pure_similarity: least similarity with every layer in int8, if some are excluded.
        saturated: fraction of each tensor's values that saturates, by name.
        engines: sizes and speeds.
    """

    model_config = ConfigDict(frozen=True)

    engine: str | None = None
    target: str
    machine: str
    calibration: str
    images: str
    least_similarity: float
    mean_similarity: float
    nearest: float
    ranks: float
    kept: tuple[str, ...] = ()
    pure_similarity: float | None = None
    saturated: dict[str, float]
    engines: tuple[EngineRow, ...]

    def __str__(self) -> str:
        int8, *others = self.engines
        faster = ", ".join(
            f"{rate / other.images_s[batch]:.2f} times as fast as {other.name} at batch {batch}"
            for other in others
            for batch, rate in int8.images_s.items()
        )
        least, mean = self.least_similarity, self.mean_similarity
        lines = [
            f"mean-centred cosine to fp32: least {least:.4f}, mean {mean:.4f} ({self.images})",
            f"same image nearest: {self.nearest:.1%}; Kendall's tau of neighbours: {self.ranks:.3f}",
            faster,
        ]
        if self.kept:
            lines.append(f"excluded from int8: {', '.join(self.kept)}")
            lines.append(f"with no layer excluded the least is {self.pure_similarity:.4f}")
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Render as Markdown."""
        batches = list(self.engines[0].images_s)
        rates = {row.name: " | ".join(f"{rate:.1f}" for rate in row.images_s.values()) for row in self.engines}
        worst = sorted(self.saturated.items(), key=lambda item: -item[1])[:10]
        lines = [
            TITLE,
            "",
            f"{self.target}; calibration: {self.calibration}; compared on {self.images}.",
            "",
            "| against fp32 | |",
            "|---|---|",
            f"| mean-centred cosine, least | {self.least_similarity:.4f} |",
            f"| mean-centred cosine, mean | {self.mean_similarity:.4f} |",
            f"| same image nearest | {self.nearest:.1%} |",
            f"| Kendall's tau of neighbours | {self.ranks:.3f} |",
            "",
            f"| engine | size, MB | {' | '.join(f'images/s, batch {batch}' for batch in batches)} |",
            f"|---|---|{'---|' * len(batches)}",
            *(f"| {row.name} | {row.bytes / 1e6:.1f} | {rates[row.name]} |" for row in self.engines),
            "",
            f"Speed was measured on {self.machine}.",
            "",
            "| excluded from int8 |",
            "|---|",
            *(f"| {name} |" for name in self.kept or ("none",)),
            "",
            "| tensor | values clipped |",
            "|---|---|",
            *(f"| {name} | {fraction:.3%} |" for name, fraction in worst),
            "",
        ]
        return "\n".join(lines)

    def save(self, engine: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the report beside an engine, as ``.report.json`` and ``.report.md``; returns both paths.

        Raises:
            OutputError: a file cannot be written.
        """
        data, text = report_paths(engine)
        with written_whole(data) as new_data:
            new_data.with_name(text.name).write_text(self.to_markdown(), "utf-8")
            new_data.write_text(self.model_dump_json(indent=1) + "\n", "utf-8")
        return data, text


def report_paths(engine: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the paths of an engine's report: ``.report.json`` and ``.report.md``."""
    path = Path(engine)
    return path.with_suffix(".report.json"), path.with_suffix(".report.md")


def engine_of_report(engine: str | os.PathLike[str]) -> str | None:
    """Return the SHA-256 of the engine that the report beside ``engine`` is of; None if no report states it."""
    try:
        return QuantizationReport.model_validate_json(report_paths(engine)[0].read_bytes()).engine
    except (OSError, ValueError):
        return None


def is_report(path: Path) -> bool:
    """True if a file of `report_paths` is a report by fastrt."""
    try:
        if path.suffix == ".md":
            return path.read_text("utf-8").startswith(TITLE)
        QuantizationReport.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def compare_int8(
    engine: str | os.PathLike[str],
    network: Network,
    table: CalibrationTable,
    images: Sequence[Image] | Array,
    described: str = "given images",
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> QuantizationReport:
    """Compare an int8 engine with engines of the same network in the target's other precisions.

    Args:
        engine: the engine file.
        network: its network.
        table: its calibration table.
        images: ``(h, w, 3)`` uint8 BGR, at least 3, preferably not used by calibration.
        described: number and origin of the images.
        advance: called with a phase's name, steps done and steps in all.
    """
    info = describe(engine)
    target = find_target(info.target)
    others = [precision for precision in COMPARED if precision in target.precisions()]
    config = EngineConfig(
        normalize=bool(info.normalized),
        io=info.io,
        resampler=info.resampler,
        options=BuildOptions(batches=info.batches or ()),
    )
    with scratch_folder() as folder, ExitStack() as stack:
        paths = {"int8": Path(engine)}
        for i, precision in enumerate(others):
            paths[precision] = folder / f"{precision}{Path(engine).suffix}"
            write_engine(network, paths[precision], replace(config, precision=precision))
            advance("building engines to compare with", i + 1, len(others))
        if info.kept:
            paths[PURE] = folder / f"pure{Path(engine).suffix}"
            write_engine(network, paths[PURE], replace(config, precision="int8", table=table))
        sessions = {name: stack.enter_context(load(path)) for name, path in paths.items()}
        batch = sessions["int8"].resize(images)
        got, want = sessions["int8"](batch), sessions["fp32"](batch)
        pure = centred_cosines(sessions[PURE](batch), want).min() if info.kept else None
        speeds = compare_speed(sessions, batch, advance, info.batches or BATCHES)
        rows = [EngineRow(name=name, bytes=engine_size(path), images_s=speeds[name]) for name, path in paths.items()]
    cosines = centred_cosines(got, want)
    return QuantizationReport(
        engine=hash_file(Path(engine)),
        target=target.version(),
        machine=f"{info.device or find_processor()}, {os.cpu_count()} cores",
        calibration=table.summary,
        images=described,
        least_similarity=round(float(cosines.min()), 5),
        mean_similarity=round(float(cosines.mean()), 5),
        nearest=round(nearest_agreement(got, want), 4),
        ranks=round(rank_agreement(got, want), 4),
        kept=info.kept or (),
        pure_similarity=None if pure is None else round(float(pure), 5),
        saturated={name: found.saturated for name, found in table.ranges.items()},
        engines=tuple(rows),
    )

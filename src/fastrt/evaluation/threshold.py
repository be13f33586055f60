"""Finds the similarity threshold above which two images are accepted as one person, with a confidence interval."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt, TypeAdapter

from fastrt.arrays import Array
from fastrt.errors import EvaluationError, OutputError
from fastrt.evaluation.arguments import check_real, check_whole
from fastrt.evaluation.pairs import Pairs
from fastrt.files import check_place, hash_file, written_whole
from fastrt.similarity import DECIMALS
from fastrt.targets.registry import find_sibling

logger = logging.getLogger("fastrt")

SIGMAS = 1.96
"""Half width of the 95 % interval of a normal distribution, in standard deviations."""


Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Threshold:
    """A threshold of the cosine similarity.

    Attributes:
        similarity: pairs at or above it are accepted as one person.
        false_matches: fraction of accepted pairs among the pairs of different people.
        interval: 95 % confidence interval of that fraction, by Wilson's score.
        found: fraction of accepted pairs among the pairs of one person.
        pairs: numbers of pairs of different people and of one person.
        flip: whether the embeddings were averaged with those of mirror images.
    """

    similarity: Annotated[float, Field(ge=-1.001, le=1.001)]  # with what rounding adds
    false_matches: Fraction
    interval: tuple[Fraction, Fraction]
    found: Fraction
    pairs: tuple[PositiveInt, PositiveInt]
    flip: bool = False

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"similarity {self.similarity:.4f}: {self.false_matches:.2e} false matches"
            f" (95 %: {low:.1e} to {high:.1e}, of {self.pairs[0]} pairs of different people),"
            f" {self.found:.1%} of the pairs of one person found"
        )

    def save(self, engine: str | os.PathLike[str], data_set: str) -> Path:
        """Write the threshold beside an engine, as ``.threshold.json`` with the data set's name. Returns the path.

        Raises:
            OutputError: the file cannot be written, or another file has its name.
        """
        path = check_stored(engine)
        with written_whole(path) as temporary:
            content = {**asdict(self), "data_set": data_set, "engine_sha256": hash_file(Path(engine))}
            temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        return path


def place_threshold(engine: str | os.PathLike[str]) -> Path:
    """Return the path of an engine's stored threshold."""
    return Path(engine).with_suffix(".threshold.json")


def check_stored(engine: str | os.PathLike[str]) -> Path:
    """Return the path of an engine's stored threshold, if one can be written there.

    Raises:
        OutputError: it cannot be written, or a file of that name is not a threshold, or that of another engine beside
            this one: nobody asked to replace it.
    """
    path = place_threshold(engine)
    check_place(path)
    try:
        _, owner = _parse(path)
    except FileNotFoundError:
        return path
    except UNREADABLE:
        raise OutputError(
            f"{path}: is not a threshold of fastrt evaluate; expected no other file of that name. Move it."
        ) from None
    if other := find_sibling(Path(engine), owner):
        raise OutputError(f"{path}: is the threshold of {other}; expected that of {engine}. Rename one engine.")
    return path


UNREADABLE = (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError)
"""What `_parse` raises for a file that is not a threshold."""


def _parse(path: Path) -> tuple[Threshold, object]:
    """Read a threshold, and the SHA-256 of its engine."""
    content = json.loads(path.read_text("utf-8"))
    return TypeAdapter(Threshold).validate_python(content), content.get("engine_sha256")


def read_threshold(engine: str | os.PathLike[str]) -> Threshold | None:
    """Read the threshold stored beside an engine.

    A threshold of another engine, also of the same network in another precision, is logged as a warning; so is one of
    embeddings that were averaged with those of mirror images, as `fastrt.match` does not average.

    Args:
        engine: the engine file.

    Returns:
        The threshold, or None if there is none of this engine as it is.

    Raises:
        EvaluationError: the file is damaged, or the engine cannot be read.
    """
    path = place_threshold(engine)
    try:
        threshold, owner = _parse(path)
    except FileNotFoundError:
        return None
    except UNREADABLE:
        raise EvaluationError(
            f"{path}: cannot be read; expected a threshold of fastrt evaluate --false-matches."
            " Find it again, or move the file."
        ) from None
    try:
        mine = hash_file(Path(engine))
    except OSError as error:
        raise EvaluationError(
            f"{engine}: cannot be read ({error.strerror}); expected an engine. Check the path."
        ) from None
    if owner != mine:
        logger.warning("%s: the threshold of another engine is not used; find it again", path)
        return None
    if threshold.flip:
        logger.warning("%s: the threshold of evaluate --flip is not used; find it again without --flip", path)
        return None
    return threshold


def find_threshold(pairs: Pairs, false_matches: float = 1e-3) -> Threshold:
    """Find the lowest similarity at which at most ``false_matches`` of the pairs of different people are accepted.

    It differs from that of each of these pairs by 1e-6 or more, so that rounding decides on none of them.

    Args:
        pairs: pairs of a data set, by cosine distance.
        false_matches: fraction above 0 and below 1. Memory grows with this fraction of the pairs.

    Raises:
        EvaluationError: there are no pairs of one person, or too few pairs of different people for this fraction, or
            the distances are not those of cosines.

    >>> distances = np.concatenate([[0.1, 0.2, 0.7], np.linspace(0.5, 1, 101)])[None]  # three of the query's person
    >>> who = np.array([7]), np.repeat([7, 8], [3, 101]), np.array([0]), np.ones(104, int)
    >>> threshold = find_threshold(Pairs(lambda: [(0, distances)], *who), false_matches=0.05)
    >>> round(threshold.similarity, 3), round(threshold.false_matches, 3), round(threshold.found, 3)
    (0.48, 0.05, 0.667)
    """
    check_rate(false_matches)
    total = pairs.different
    check_pairs(false_matches, len(pairs.same), total)
    allowed = int(np.floor(total * false_matches + 1e-9))
    ordered, same = (1 - part.astype(np.float64) for part in (pairs.nearest_different(allowed + 1), pairs.same))
    _check_cosines(ordered, same)
    # Pairs of almost equal similarity are all accepted or all rejected.
    margin = 10.0**-DECIMALS
    while allowed and ordered[allowed - 1] - ordered[min(allowed, len(ordered) - 1)] < 2 * margin:
        allowed -= 1
    similarity = float(ordered[allowed - 1] - margin if allowed else ordered[0] + margin)
    found = float((same >= similarity).mean())
    interval = wilson_interval(allowed, total)
    return Threshold(similarity, allowed / total, interval, found, (total, len(same)), pairs.flip)


def _check_cosines(*parts: Array) -> None:
    """Raise `EvaluationError` unless similarities are cosines, with what rounding adds: euclidean distances are not."""
    low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    if low < -1.001 or high > 1.001:
        raise EvaluationError(
            f"threshold: distances from {1 - high:g} to {1 - low:g}; expected cosine distances, 0 to 2."
            " Compute them with cosine_distances."
        )


def check_rate(false_matches: float) -> None:
    """Raise `EvaluationError` unless the fraction of false matches is above 0 and below 1."""
    check_real("false matches", false_matches)
    if not 0 < false_matches < 1:
        raise EvaluationError(
            f"false matches: {false_matches}; expected a fraction above 0 and below 1. Give 0.001, for example."
        )


def check_pairs(false_matches: float, same: int, different: int) -> None:
    """Raise `EvaluationError` unless there are enough pairs for a threshold with this fraction of false matches."""
    if not same or different * false_matches < 1:
        raise EvaluationError(
            f"threshold: {same} pairs of one person and {different} of two; expected at least 1 and"
            f" {np.ceil(1 / false_matches):.0f} for {false_matches:g} false matches. Use a larger data set."
        )


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Compute the Wilson score interval of a fraction, of which ``count`` of ``total`` were observed.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    >>> tuple(round(bound, 4) for bound in wilson_interval(10, 100))
    (0.0552, 0.1744)
    """
    total = check_whole("interval: total", total, 1)
    count = int(check_real("interval: count", count, 0, total))
    part, square = count / total, SIGMAS**2
    middle = (part + square / (2 * total)) / (1 + square / total)
    spread = SIGMAS / (1 + square / total) * np.sqrt(part * (1 - part) / total + square / (4 * total**2))
    return max(float(middle - spread), 0.0), min(float(middle + spread), 1.0)

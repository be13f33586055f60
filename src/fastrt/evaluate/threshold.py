"""From which similarity on two pictures may be taken for one person: found on pairs, with how sure that is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import EvaluationError
from fastrt.files import written_whole

SIGMAS = 1.96
"""Of a normal distribution, on either side: 95 % lie between."""


@dataclass(frozen=True)
class Threshold:
    """A bound on the cosine similarity.

    Attributes:
        similarity: pairs at or above it are taken for one person.
        false_matches: which part of the pairs of different people it takes for one.
        interval: between what bounds that part lies with a confidence of 95 %, by Wilson's score.
        found: which part of the pairs of one person it finds.
        pairs: of different people, and of one.
    """

    similarity: float
    false_matches: float
    interval: tuple[float, float]
    found: float
    pairs: tuple[int, int]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"similarity {self.similarity:.4f}: {self.false_matches:.2e} of different people taken for one"
            f" (95 %: {low:.1e} to {high:.1e}, of {self.pairs[0]} pairs), {self.found:.1%} of same people found"
        )

    def save(self, engine: str | os.PathLike[str], data_set: str, fingerprint: str | None) -> Path:
        """Write it beside an engine, as ``.threshold.json``, with what it was found on; returns the file.

        Raises:
            OutputError: it cannot be written.
        """
        path = Path(engine).with_suffix(".threshold.json")
        content = {**asdict(self), "data_set": data_set, "fingerprint": fingerprint}
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        return path


def find_threshold(same: Array, different: Array, false_matches: float = 1e-3) -> Threshold:
    """The least similarity at which no larger part of different people than ``false_matches`` is taken for one.

    Args:
        same: cosine similarities of pairs of one person, ``(s,)``.
        different: of pairs of two, ``(d,)``.
        false_matches: the part, above 0 and below 1.

    Raises:
        EvaluationError: no pairs, or fewer of different people than it takes to see so small a part.

    >>> threshold = find_threshold(np.array([0.9, 0.8, 0.3]), np.linspace(0, 0.5, 101), false_matches=0.05)
    >>> round(threshold.similarity, 3), round(threshold.false_matches, 3), round(threshold.found, 3)
    (0.48, 0.05, 0.667)
    """
    check_rate(false_matches)
    if not len(same) or len(different) * false_matches < 1:
        raise EvaluationError(
            f"{len(same)} pairs of one person and {len(different)} of two cannot show a part of {false_matches:g};"
            f" at least 1 and {int(np.ceil(1 / false_matches))} are wanted"
        )
    ordered = np.sort(different)[::-1]
    allowed = int(np.floor(len(ordered) * false_matches + 1e-9))
    # Of pairs at the very same similarity all are taken or none.
    while allowed and ordered[allowed - 1] == ordered[min(allowed, len(ordered) - 1)]:
        allowed -= 1
    similarity = float(ordered[allowed - 1]) if allowed else float(np.nextafter(ordered[0], np.inf))
    part = allowed / len(ordered)
    found = float((same >= similarity).mean())
    return Threshold(similarity, part, wilson_interval(allowed, len(ordered)), found, (len(ordered), len(same)))


def check_rate(false_matches: float) -> None:
    """Raise `EvaluationError` unless a part of false matches is above 0 and below 1."""
    if not 0 < false_matches < 1:
        raise EvaluationError(f"a part of {false_matches} of false matches; above 0 and below 1 is wanted")


def wilson_interval(count: int, total: int, sigmas: float = SIGMAS) -> tuple[float, float]:
    """Where the true part lies, if ``count`` of ``total`` were seen.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    >>> tuple(round(bound, 4) for bound in wilson_interval(10, 100))
    (0.0552, 0.1744)
    """
    part, square = count / total, sigmas**2
    middle = (part + square / (2 * total)) / (1 + square / total)
    spread = sigmas / (1 + square / total) * np.sqrt(part * (1 - part) / total + square / (4 * total**2))
    return max(float(middle - spread), 0.0), min(float(middle + spread), 1.0)

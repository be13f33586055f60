"""From which similarity on two pictures may be taken for one person: found on pairs, with how sure that is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fastrt.errors import EvaluationError
from fastrt.evaluation.pairs import Pairs
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


def find_threshold(pairs: Pairs, false_matches: float = 1e-3) -> Threshold:
    """The least similarity at which no larger part of different people than ``false_matches`` is taken for one.

    Args:
        pairs: of a data set, by cosine distance.
        false_matches: the part, above 0 and below 1; so many distances are held.

    Raises:
        EvaluationError: no pairs, or fewer of different people than it takes to see so small a part.

    >>> distances = np.concatenate([[0.1, 0.2, 0.7], np.linspace(0.5, 1, 101)])[None]  # three of the query's person
    >>> who = np.array([7]), np.repeat([7, 8], [3, 101]), np.array([0]), np.ones(104, int)
    >>> threshold = find_threshold(Pairs(lambda: [(0, distances)], *who), false_matches=0.05)
    >>> round(threshold.similarity, 3), round(threshold.false_matches, 3), round(threshold.found, 3)
    (0.48, 0.05, 0.667)
    """
    check_rate(false_matches)
    total = pairs.different
    if not len(pairs.same) or total * false_matches < 1:
        raise EvaluationError(
            f"{len(pairs.same)} pairs of one person and {total} of two cannot show a part of {false_matches:g};"
            f" at least 1 and {int(np.ceil(1 / false_matches))} are wanted"
        )
    allowed = int(np.floor(total * false_matches + 1e-9))
    ordered = 1 - pairs.nearest_different(allowed + 1)
    # Of pairs at the very same similarity all are taken or none.
    while allowed and ordered[allowed - 1] == ordered[min(allowed, len(ordered) - 1)]:
        allowed -= 1
    similarity = float(ordered[allowed - 1]) if allowed else float(np.nextafter(ordered[0], np.inf))
    found = float((1 - pairs.same >= similarity).mean())
    interval = wilson_interval(allowed, total)
    return Threshold(similarity, allowed / total, interval, found, (total, len(pairs.same)))


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

"""Results of checks of an engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One check: its name, its result, and a sentence with the figures."""

    name: str
    passed: bool
    figures: str


@dataclass(frozen=True)
class Report:
    """The checks of `verify`; true if all passed. ``print(report)`` shows the figures."""

    checks: tuple[Check, ...]

    def __bool__(self) -> bool:
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        return "\n".join([*self.lines(), "verified" if self else "not verified"])

    def lines(self) -> list[str]:
        """One line per check, without the overall result."""
        width = max(len(check.name) for check in self.checks)
        return [
            f"{check.name:<{width}}  {'ok  ' if check.passed else 'FAIL'}  {check.figures}" for check in self.checks
        ]

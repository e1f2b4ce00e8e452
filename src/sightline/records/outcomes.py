"""The three outcomes of a check or rule, and the words they are said in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.records.finding import Finding, Severity


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The findings that one check can return.

    Attributes:
        code: Stable name of the check.
        severity: How bad it is at worst; a finding may say less.
    """

    code: str
    severity: Severity

    def found(
        self,
        title: str,
        evidence: Mapping[str, Any],
        advice: str,
        *,
        severity: Severity | None = None,
        recipe_change: str = "",
        epoch: int | None = None,
    ) -> Finding:
        """Return that it was found; `severity` None stands for the check's own."""
        return Finding(
            self.code,
            severity or self.severity,
            title,
            evidence,
            advice,
            recipe_change=recipe_change,
            epoch=epoch,
        )

    def passed(self, title: str, evidence: Mapping[str, Any] | None = None) -> Finding:
        """Return that it was looked for and is not there."""
        return Finding(self.code, self.severity, title, evidence or {}, outcome="passed")

    def not_applicable(self, why: str) -> Finding:
        """Return that it could not be looked for, and why."""
        return Finding(self.code, self.severity, why, outcome="not applicable")


def counted(count: int, one: str, many: str = "") -> str:
    """Return "1 image" or "1,200 images"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(words: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))

"""The three things a check can come to, and the words they are said in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.records import Finding, Severity


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
    ) -> Finding:
        """Return that it was found; `severity` None stands for the check's own."""
        severity = severity or self.severity
        return Finding(
            self.code, severity, title, evidence, advice, "found", recipe_change=recipe_change
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


def part_of(
    part: int, whole: int, one: str, many: str = "", *, verb: tuple[str, str] = ("is", "are")
) -> str:
    """Return "1 of 20 images is" or "3 of 20 images are"."""
    return f"{part:,} of {counted(whole, one, many)} {verb[part != 1]}"


def percent(part: int, whole: int) -> str:
    """Return "0.2 %" for 2 of 1,000, and "under 0.1 %" for less than can be said."""
    share = 100 * part / max(1, whole)
    if 0 < share < 0.1:
        return "under 0.1 %"
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def listed(counts: Mapping[str, int], *, first: int = 4) -> str:
    """Return "7 TRUNCATED, 5 EMPTY and 3 of 2 other kinds", the first ones by name.

    A single kind beyond the first ones is named as well.
    """
    names = [f"{count:,} {name}" for name, count in counts.items()]
    rest = list(counts.values())[first:]
    if len(rest) > 1:
        names = names[:first]
        return f"{', '.join(names)} and {sum(rest):,} of {counted(len(rest), 'other kind')}"
    return joined(names)


def joined(words: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))

"""The three things a check can come to, and the words they are said in."""

from __future__ import annotations

from collections.abc import Mapping

from sightline.records.outcomes import Outcomes, counted, joined

__all__ = ["Outcomes", "counted", "joined", "listed", "part_of", "percent"]


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

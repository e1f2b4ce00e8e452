"""What the benchmarks that write figures into a page of docs/ have in common."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def rewrite(page: Path, begin: str, end: str, lines: Iterable[str]) -> None:
    """Write lines anew between the two markers of a page; the rest of the page stays.

    Raises:
        SystemExit: The page lacks a marker.
    """
    before, found_begin, rest = page.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise SystemExit(
            f"{page} lacks the markers {begin!r} and {end!r}; put them where tables belong."
        )
    page.write_text(before + begin + "\n\n" + "\n".join(lines) + "\n\n" + end + after)


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table, its first column to the left and the others to the right."""
    names = list(head)
    rule = ["---"] + ["---:" for _ in names[1:]]
    return ["| " + " | ".join(row) + " |" for row in (names, rule, *rows)]


def said(reached: bool | None) -> str:
    """Return whether a target was reached in words; None is one without figures."""
    return {True: "reached", False: "NOT REACHED", None: "not measured"}[reached]

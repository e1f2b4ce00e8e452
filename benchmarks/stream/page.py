"""The figures as text: lines for the terminal, tables for docs/benchmarks.md.

    python -m benchmarks.stream.page stream.json docs/benchmarks.md

writes the tables anew between the page's two markers; the rest of the page stays.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.pages import markdown, rewrite, said
from benchmarks.stream.contenders import CONTENDERS

BEGIN = "<!-- begin: written by benchmarks/stream/page.py -->"
END = "<!-- end: written by benchmarks/stream/page.py -->"
TITLES = {one.name: one.title for one in CONTENDERS}


def main() -> None:
    """Write the tables of a run into the page."""
    report = json.loads(Path(sys.argv[1]).read_text())
    rewrite(Path(sys.argv[2]), BEGIN, END, tables(report))


def tables(report: dict[str, Any]) -> list[str]:
    """Return the Markdown between the markers."""
    lines = [" · ".join(machine_lines(report)), ""]
    for race in report["races"].values():
        lines += [f"### {_heading(race)}", ""]
        if race["not_run"]:
            lines += [f"Not run: {race['not_run']}.", ""]
            continue
        head = (
            "",
            "cold, img/CPU-s",
            "img/CPU-s (min to max)",
            "img/s wall (min to max)",
            "memory",
        )
        rows = [_row(name, result) for name, result in race["results"].items()]
        lines += [*markdown(head, rows), ""]
        for name, result in race["results"].items():
            if result["not_run"]:
                lines += [f"{TITLES[name]}: {result['not_run']}.", ""]
    lines += ["### Numbers to reach", ""]
    head = ("set", "what", "needed", "measured", "")
    return [*lines, *markdown(head, (_verdict_row(one) for one in report["verdicts"]))]


def machine_lines(report: dict[str, Any]) -> list[str]:
    """Return the machine, then the versions."""
    machine = dict(report["machine"])
    about = ", ".join(
        (
            machine.pop("processor"),
            f"{machine.pop('cores')} cores",
            machine.pop("memory"),
            machine.pop("system"),
            f"Python {machine.pop('python')}",
        )
    )
    return [about, ", ".join(f"{name} {value}" for name, value in machine.items())]


def race_lines(race: dict[str, Any]) -> list[str]:
    """Return one set's figures for the terminal."""
    lines = ["", _heading(race)]
    if race["not_run"]:
        return [*lines, f"not run: {race['not_run']}"]
    head = ("", "cold, img/CPU-s", "img/CPU-s", "img/s wall", "memory")
    rows = [head, *(_row(name, result) for name, result in race["results"].items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join((row[0].ljust(widths[0]), *cells)))
    failed = {name: one["not_run"] for name, one in race["results"].items() if one["not_run"]}
    return lines + [f"{TITLES[name]}: {reason}" for name, reason in failed.items()]


def verdict_lines(verdicts: Iterable[dict[str, Any]]) -> list[str]:
    """Return one line a target for the terminal."""
    return [
        "",
        *("{4:12} {0:3} {1}: {3}, needed {2}".format(*_verdict_row(one)) for one in verdicts),
    ]


def _heading(race: dict[str, Any]) -> str:
    what = "augmented" if race["augment"] else "resized alone"
    heading = f"{race['name']}: {race['title']}, {race['images']:,} images, {what}"
    if race["not_run"]:
        return heading
    rounds = max((len(one["steady"]) for one in race["results"].values()), default=0)
    return (
        f"{heading}, {race['kilobytes']:.0f} KB each, {rounds} rounds, "
        f"load before {race['load']:.1f}"
    )


def _row(name: str, result: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Return one contender's cells: title, first epoch per CPU-second, two rates, memory."""
    if not result["steady"]:
        return TITLES[name], "", "not run", "not run", ""
    cold = result["cold"]["images"] / result["cold"]["cpu"]
    memory = f"{result['memory_mb']:.0f} MB"
    if result["pages_mb"] >= 1:
        memory += f" + {result['pages_mb']:.0f}"
    rates = [_spread(result["steady"], figure) for figure in ("cpu", "wall")]
    return TITLES[name], f"{cold:,.0f}", *rates, memory


def _spread(turns: list[dict[str, Any]], figure: str) -> str:
    rates = [turn["images"] / turn[figure] for turn in turns]
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def _verdict_row(one: dict[str, Any]) -> tuple[str, str, str, str, str]:
    whether = said(one["reached"])
    return one["set_name"], one["what"], one["needed"], one["measured"], whether


if __name__ == "__main__":
    main()

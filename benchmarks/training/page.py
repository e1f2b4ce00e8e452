"""The figures as text: lines for the terminal, tables for docs/benchmarks-training.md.

    python -m benchmarks.training.page train.json docs/benchmarks-training.md [race.json]

writes the tables anew between the page's markers; the rest of the page stays.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages import markdown, rewrite, said
from benchmarks.stream.page import machine_lines

BEGIN = "<!-- begin: written by benchmarks/training/page.py -->"
END = "<!-- end: written by benchmarks/training/page.py -->"
Figures = Mapping[str, Any]


def main() -> None:
    """Write the tables of a run into the page."""
    report = json.loads(Path(sys.argv[1]).read_text())
    races = json.loads(Path(sys.argv[3]).read_text()) if len(sys.argv) > 3 else None
    if report["quick"]:
        sys.exit(f"{sys.argv[1]} is of a quick run, whose figures say nothing.")
    rewrite(Path(sys.argv[2]), BEGIN, END, tables(report, races))


def tables(report: Figures, races: Figures | None) -> list[str]:
    """Return the Markdown between the markers."""
    lines = [" · ".join(machine_lines(dict(report))), "", f"Load before: {report['load']:.1f}.", ""]
    titles = {
        "loops": "The loop",
        "epochs": "Whole epochs",
        "checkpoints": "Checkpoints",
        "memory": "Memory",
    }
    for part, title in titles.items():
        if report.get(part):
            rows = [row for figures in report[part] for row in ROWS[part](figures)]
            lines += [f"### {title}", "", *markdown(HEADS[part], rows), ""]
    if races:
        for name, (head, rows) in races["tables"].items():
            lines += [f"### {name}", "", *markdown(head, rows), ""] if rows else []
    lines += ["### Numbers to reach", ""]
    head = ("what", "needed", "measured", "")
    found = [*report["verdicts"], *(races["verdicts"] if races else [])]
    return [*lines, *markdown(head, map(_verdict_row, found))]


HEADS = {
    "loops": (
        *("recipe", "precision", "backend", "ours, img/s", "over fit", "over fit, same step"),
        *("stream over memory", "GFLOP/s", "matrix product", "share"),
    ),
    "epochs": ("set", "who", "first epoch, s", "later epochs, s", "ours float32", "ours auto"),
    "checkpoints": (
        "recipe",
        "share",
        "seconds each",
        "of that writing",
        "img/s saved",
        "not saved",
    ),
    "memory": (
        *("recipe", "release_memory", "resident, MB an epoch", "at epoch 3", "at the end"),
        "asked for, MB an epoch",
    ),
}


def loop_rows(race: Figures) -> list[tuple[str, ...]]:
    """Return the row of one race."""
    speed, ratios, reached = race["images_per_second"], race["ratios"], race["arithmetic"]
    giga = [
        f"{reached[name]['median'] / 1e9:,.0f}" if reached else ""
        for name in ("reached", "product")
    ]
    return [
        (
            race["work"],
            race["precision"],
            race["backend"],
            between(speed.get("ours"), 0) or "not run",
            *(between(ratios.get(f"ours / {other}"), 3) for other in ("fit", "fit-same-step")),
            between(ratios.get("stream / ours"), 3),
            *giga,
            between(reached["share"], 2) if reached else "",
        )
    ]


def epoch_rows(one: Figures) -> list[tuple[str, ...]]:
    """Return one row for each who ran epochs of a set."""
    rows = []
    for name, first in one["first"].items():
        ratios = [
            between(one["ratios"].get(f"{mine} / {name}"), 2)
            for mine in ("ours, float32", "ours, precision auto")
        ]
        rows.append((one["set"], name, between(first, 1), between(one["later"][name], 1), *ratios))
    return rows + [(one["set"], name, "not run", "", "", "") for name in one["not_run"]]


def checkpoint_rows(one: Figures) -> list[tuple[str, ...]]:
    """Return the row of one work."""
    if not one["turns"]["saved"]:
        return [(one["work"], "not run", "", "", "", "")]
    (saved,), plain = one["turns"]["saved"], one["turns"]["not saved"]
    return [
        (
            one["work"],
            f"{one['share']['median']:.2%}",
            ", ".join(f"{seconds:.2f}" for seconds in saved["saving"]),
            ", ".join(f"{seconds:.2f}" for seconds in saved["writing"]),
            f"{saved['images_per_second']:.0f}",
            f"{plain[0]['images_per_second']:.0f}" if plain else "not run",
        )
    ]


def memory_rows(one: Figures) -> list[tuple[str, ...]]:
    """Return the row of one work, with or without the callback."""
    held = [turn["memory_mb"] for run in one["runs"] for turn in run["turns"]]
    if not held:
        return [(one["work"], str(one["release"]), "not run", "", "", "")]
    third, last = (", ".join(f"{each[place]:,.0f}" for each in held) for place in (2, -1))
    resident, asked = (between(one[name], 3) for name in ("slope", "asked_for_slope"))
    return [(one["work"], str(one["release"]), resident, third, last, asked)]


def between(one: Figures | None, digits: int) -> str:
    """Return "median (lowest to highest)"; "" without figures."""
    if not one:
        return ""
    return "{0:,.{3}f} ({1:,.{3}f} to {2:,.{3}f})".format(
        one["median"], one["lowest"], one["highest"], digits
    )


ROWS: dict[str, Callable[[Figures], list[tuple[str, ...]]]] = {
    "loops": loop_rows,
    "epochs": epoch_rows,
    "checkpoints": checkpoint_rows,
    "memory": memory_rows,
}


def _lines(part: str) -> Callable[[Figures], list[str]]:
    def told(figures: Figures) -> list[str]:
        lines = []
        for row in ROWS[part](figures):
            cells = zip(HEADS[part], row, strict=True)
            lines.append("; ".join(f"{head} {cell}" for head, cell in cells if cell))
        return [*lines, *_reasons(figures)]

    return told


LINES = {part: _lines(part) for part in ROWS}


def _reasons(figures: Figures) -> list[str]:
    """Return why something was not run."""
    not_run = figures.get("not_run", "")
    if isinstance(not_run, Mapping):
        return [f"  {name}: {reason}" for name, reason in not_run.items()]
    if not_run:
        return [f"  {not_run}"]
    results = figures.get("results", {})
    return [f"  {name}: {one['not_run']}" for name, one in results.items() if one["not_run"]]


def verdict_lines(verdicts: Iterable[Figures]) -> list[str]:
    """Return one line a target for the terminal."""
    return ["", *("{3:12} {0}: {2}, needed {1}".format(*_verdict_row(one)) for one in verdicts)]


def _verdict_row(one: Figures) -> tuple[str, str, str, str]:
    return one["what"], one["needed"], one["measured"], said(one["reached"])


if __name__ == "__main__":
    main()

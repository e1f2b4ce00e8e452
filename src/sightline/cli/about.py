"""runs, recipes, doctor."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import sightline
from sightline.cli import console, options
from sightline.errors import SightlineError
from sightline.recipes import BUILTIN_NAMES, builtin_text
from sightline.records import rounded
from sightline.runs import Run, decision_of_best, list_runs

_METRICS = ("accuracy", "balanced_accuracy", "roc_auc")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(runs))
    app.command()(console.told_plainly(recipes))
    app.command()(console.told_plainly(doctor))


def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: options.Json = False,
) -> None:
    """List the runs in a folder: recipe, parameters, epochs, and how good each is."""
    opened, complaints = list_runs(folder)
    rows = []
    for run in opened:
        try:
            rows.append(_row(run))
        except SightlineError as error:  # one damaged run does not hide the others
            complaints.append(str(error))
    if as_json:
        console.show_json({"runs": rows, "damaged": complaints})
        return
    if not rows and not complaints:
        console.show(f"There are no runs in {folder}.")
    elif rows:
        shown = [[_text(value) for value in row.values()] for row in rows]
        console.show_table(list(rows[0]), shown)
    for complaint in complaints:
        console.show(f"Cannot be opened: {complaint}")


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the built-in recipes, or print one, with a comment on every value that is ours."""
    if name is not None:
        text = builtin_text(name)
        if as_json:
            console.show_json(sightline.load_recipe(name).model_dump(mode="json"))
        else:
            console.show(text.rstrip())
        return
    about = {each: _first_comment(builtin_text(each)) for each in BUILTIN_NAMES}
    if as_json:
        console.show_json(about)
    else:
        console.show_table(["recipe", "about"], [list(row) for row in about.items()])
        console.show("\nPrint one: sightline recipes NAME > mine.toml")


def doctor(
    folder: Annotated[Path, typer.Option(help="Where runs would be written.")] = Path(),
    as_json: options.Json = False,
) -> None:
    """Check this machine: versions, backend, device, precision, threads, disk."""
    findings = sightline.doctor(folder)
    if as_json:
        console.show_json([dataclasses.asdict(finding) for finding in findings])
    else:
        marks = {"passed": "ok", "found": "!!", "not applicable": "--"}
        console.show_table(
            ["", "check", "result"],
            [[marks[f.outcome], f.code, _sentences(f.title, f.advice)] for f in findings],
        )
    if any(f.outcome == "found" and f.severity == "error" for f in findings):
        raise typer.Exit(console.FINDINGS)


def _row(run: Run) -> dict[str, Any]:
    history = run.history
    best = history.best_epoch
    metrics: Mapping[str, float | None] = {}
    for judged in run.evaluations:
        # Not those of weights it had before, as far as the epoch tells: to read weights takes long.
        if (judged.source, judged.weights, judged.epoch) != ("test", "best", best):
            continue
        if decision_of_best(run).chooses_as(judged.decision):
            metrics = judged.metrics
    return {
        "run": str(run.path),
        "state": run.state,
        "recipe": run.recipe.name,
        "parameters": run.summary.parameters,
        "images": run.facts.count or None,
        "epochs": len(history),
        "best epoch": None if best is None else best + 1,
        "val_loss": None if best is None else history["val_loss"][best],
        **{f"test {name.replace('_', ' ')}": metrics.get(name) for name in _METRICS},
        "started": run.info["started"][:16].replace("T", " "),
    }


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return rounded(value, 4) if isinstance(value, float) else str(value)


def _sentences(title: str, advice: str) -> str:
    return f"{title.rstrip('.')}. {advice}" if advice else title


def _first_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(": ")[2]

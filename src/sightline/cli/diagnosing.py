"""diagnose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import sightline
from sightline.cli import console, options
from sightline.errors import DataError
from sightline.records import Finding
from sightline.records.diagnosis import Diagnosis

_ELSEWHERE = "A training by another program"

NumTrain = Annotated[
    int | None, typer.Option(help="Training images.", rich_help_panel=_ELSEWHERE)
]  # fmt: skip
NumValidation = Annotated[
    int | None, typer.Option(help="Validation images.", rich_help_panel=_ELSEWHERE)
]
NumTest = Annotated[int | None, typer.Option(help="Test images.", rich_help_panel=_ELSEWHERE)]
ClassCounts = Annotated[
    list[str] | None,
    typer.Option(
        "--class-count",
        help="Training images of a class, e.g. cat=120.",
        rich_help_panel=_ELSEWHERE,
    ),
]
BatchSize = Annotated[int | None, typer.Option(help="Images a step.", rich_help_panel=_ELSEWHERE)]
Patience = Annotated[
    int | None,
    typer.Option(help="Of early stopping on val_loss; 0 for none.", rich_help_panel=_ELSEWHERE),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(console.told_plainly(diagnose))


def diagnose(
    run: Annotated[Path, typer.Argument(help="A run folder, or a .csv file of Keras' CSVLogger.")],
    num_train: NumTrain = None,
    num_validation: NumValidation = None,
    num_test: NumTest = None,
    class_count: ClassCounts = None,
    batch_size: BatchSize = None,
    patience: Patience = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw the curves, with the number of each finding where it begins.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Read the curves of a training as an expert would: what is wrong, and what to try next.

    Ends with 1 where an error-level finding stands.
    """
    done = sightline.diagnose(
        run,
        num_train=num_train,
        num_validation=num_validation,
        num_test=num_test,
        class_counts=_counts(class_count or []) or None,
        batch_size=batch_size,
        patience=patience,
        progress=console.progress(as_json),
    )
    if plot is not None:
        sightline.plot_history(run, out=plot, diagnosis=done)
    if as_json:
        console.show_json(done.to_dict())
    else:
        show(done, numbered=plot is not None)
    if done.errors:
        raise typer.Exit(console.FINDINGS)


def show(done: Diagnosis, *, numbered: bool = False) -> None:
    """Print what stands, the worst first, with evidence, advice and the next experiment."""
    console.show(f"{done.source}: {done.summary}")
    for number, finding in enumerate(done.standing, start=1):
        start = f"{number}. " if numbered else ""
        console.show(f"\n{start}{finding.severity.capitalize()} {finding.code}: {finding.title}")
        if evidence := _evidence(finding):
            console.show(f"  Evidence: {evidence}")
        if finding.advice:
            console.show(f"  Advice: {finding.advice}")
        if finding.recipe_change:
            console.show(f"  Try: --set {finding.recipe_change}")
    console.show("")
    for code, cause in done.explained.items():
        console.show(f"Follows from {cause}: {code}")
    passed, unknown = (
        sum(finding.outcome == outcome for finding in done.findings)
        for outcome in ("passed", "not applicable")
    )
    console.show(f"Rules that passed: {passed}; that do not apply: {unknown}.")
    for note in done.notes:
        console.show(note)


def _evidence(finding: Finding) -> str:
    """Return the numbers of a finding in a line; lists and tables are left to --json."""
    return ", ".join(
        f"{name.replace('_', ' ')} {_number(name, value)}"
        for name, value in finding.evidence.items()
        if isinstance(value, (int, float, str)) and not isinstance(value, bool)
    )


def _number(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if name.endswith("epoch") and isinstance(value, int):  # people count from 1
        return f"{value + 1}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _counts(words: list[str]) -> dict[str, int]:
    """Return {"cat": 120} for ["cat=120"].

    Raises:
        DataError: A word is not of that form, or a class comes twice.
    """
    counts: dict[str, int] = {}
    for word in words:
        name, equals, text = word.rpartition("=")
        if not (equals and name and text.strip().isascii() and text.strip().isdigit()):
            raise DataError(f"--class-count {word} is not of the form NAME=COUNT, e.g. cat=120")
        if name in counts:
            raise DataError(f"--class-count names {name!r} twice. Give each class once.")
        counts[name] = int(text)
    return counts

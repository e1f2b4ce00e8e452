"""ensemble."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline.cli import console, options


class Method(StrEnum):
    """How runs are put together."""

    best = "best"
    mean = "mean"
    weighted = "weighted"
    greedy = "greedy"
    soup = "soup"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(ensemble))


def ensemble(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Two runs or more, or a folder of cross-validation; with --tta, one too."
        ),
    ],
    method: Annotated[
        Method,
        typer.Option(
            help="Of the probabilities the mean, a weighted mean, a greedy choice, or the best of "
            "these; soup: the mean of the weights of equal networks."
        ),
    ] = Method.best,
    tta: Annotated[
        bool, typer.Option("--tta", help="Also average over the flips that a run was trained with.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled images that no run has, to fit and judge on."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new run folder; by default runs/ensemble-DATE-TIME.")
    ] = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    as_json: options.Json = False,
) -> None:
    """Put runs together into one, kept only where that helps beyond noise."""
    found = sightline.ensemble(
        runs,
        method=method.value,
        flips=tta,
        data=data,
        out=out,
        progress=console.progress(as_json),
        **options.source_options(locals()),
    )
    if as_json:
        console.show_json(found.to_dict())
        return
    rows = [
        [Path(each.run).name, f"{each.weight:.3f}", _number(each.log_loss)]
        for each in found.members
    ]
    console.show_table(["run", "weight", "log loss"], rows)
    for line in found.told:
        console.show(line)
    console.show(f"Run: {found.run}" if found.run else f"Nothing is kept. Use {found.best}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

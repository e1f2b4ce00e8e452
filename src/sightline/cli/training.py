"""train, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline.cli import console, options
from sightline.records import Evaluation, edges_of, rounded
from sightline.runs import Run, check_new, new_run_path

_DEMO_MINUTES = 0.5


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(train))
    app.command()(console.told_plainly(demo))


def train(
    data: options.Data = None,
    recipe: options.MaybeRecipe = None,
    changes: options.Changes = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Time to train: no epoch is begun that is expected to end later, and an automatic "
            "number of epochs is planned for it. What a resumed run took before counts."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/RECIPE-DATE-TIME.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="A run that stopped: go on at its very next step.")
    ] = None,
    only_train: Annotated[
        bool, typer.Option("--only-train", help="No evaluation and no report.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Keep decoded images for later epochs and other runs.")
    ] = True,
    allow_leak: options.AllowLeak = False,
    train: options.Train = None,
    validation: options.Validation = None,
    test: options.Test = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    split_col: options.SplitCol = None,
    fold_col: options.FoldCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    as_json: options.Json = False,
) -> None:
    """Do the whole job: scan, audit, split if needed, train, evaluate, report."""
    source = options.source_options(locals())
    if out is None and resume is None:
        options.refuse_among_images(data, train, validation, test)
    run = sightline.train(
        data,
        recipe=recipe,
        changes=_asked(changes or [], minutes, recipe, resume),
        out=out,
        resume=resume,
        only_train=only_train,
        cache=cache,
        allow_leak=allow_leak,
        progress=console.progress(as_json),
        **source,
    )
    show_end(run, as_json)


def _asked(
    changes: list[str], minutes: float | None, recipe: str | None, resume: Path | None
) -> list[str]:
    """Return the changes with the minutes: a limit, and what automatic epochs are planned for."""
    if minutes is None:
        return changes
    limit = [*changes, f"stop.minutes={minutes}"]
    if resume is None and sightline.load_recipe(recipe or "auto", changes).train.epochs == "auto":
        return [*limit, f"train.minutes={minutes}"]
    return limit


def demo(
    folder: Annotated[Path, typer.Option(help="Where the digits are written.")] = Path("digits"),
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/demo-DATE-TIME.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Train on 1,797 real handwritten digits, written out as PNG folders: about a minute."""
    from sightline.data.digits import write_digits

    path = out or new_run_path("demo")
    check_new(path)
    run = sightline.train(
        write_digits(folder),
        changes={"train.minutes": _DEMO_MINUTES},
        out=path,
        progress=console.progress(as_json),
    )
    show_end(run, as_json)


def show_end(run: Run, as_json: bool) -> None:
    """Print what came out, and leave with the signal's code if one ended it."""
    report = run.path / "report.html"
    if as_json:
        console.show_json(
            {
                "run": str(run.path),
                "state": run.state,
                "reason": run.info["reason"],
                "epochs": len(run.history),
                "best_epoch": run.history.best_epoch,
                "evaluations": [judged.to_dict() for judged in run.evaluations],
                "report": str(report) if report.exists() else None,
            }
        )
    else:
        for judged in run.evaluations:
            caution = f"; {judged.caution}" if judged.caution else ""
            console.show(
                f"{judged.source.capitalize()} accuracy {_figure(judged, 'accuracy')}, balanced "
                f"accuracy {_figure(judged, 'balanced_accuracy')} on {judged.count:,} images "
                f"({judged.weights} weights, epoch {judged.epoch + 1}{caution})"
            )
        if report.exists():
            console.show(f"Report: {report}")
        elif run.state == "interrupted" and len(run.history):
            console.show(f"Judge what there is: sightline evaluate {run.path}")
    if signal_number := run.info.get("signal"):
        raise typer.Exit(128 + signal_number)


def _figure(judged: Evaluation, metric: str) -> str:
    """Return a figure with its 95 % interval."""
    value = rounded(judged.metrics[metric])
    return (
        f"{value} ({edges_of(judged.intervals[metric])})" if metric in judged.intervals else value
    )

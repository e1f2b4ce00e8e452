"""tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline.cli import console, options
from sightline.records.trials import Strategy, Tuning
from sightline.workflow.sharing import end_with_parent

_Recipe = Annotated[
    str | None,
    typer.Option(help="What the search begins with: a name or a .toml file; basic without."),
]
_Strategy = Annotated[
    Strategy,
    typer.Option(help="ladder: one change at a time; optuna: draws from a declared space."),
]
_Objective = Annotated[
    str, typer.Option(help="val_loss, or a metric of validation: f1, auc, balanced_accuracy ...")
]
_Space = Annotated[
    Path | None, typer.Option(help="For optuna: a .toml file of values; the usual without.")
]
_Storage = Annotated[
    str, typer.Option(help="For optuna: URL of a database that several machines share.")
]
_Study = Annotated[
    str, typer.Option(help="For optuna: name of the study there; that of the folder without.")
]
_Minutes = Annotated[float, typer.Option(help="Its trainings may take so long; 0 for no limit.")]
_Trials = Annotated[int, typer.Option(help="There may be so many trainings; 0 for no limit.")]
_Workers = Annotated[int, typer.Option(help="Processes that train at the same time; 1 without.")]
_Retrain = Annotated[
    bool, typer.Option(help="Train the best recipe on train and validation together as well.")
]
_Out = Annotated[
    Path | None, typer.Option(help="Folder of the search; by default runs/tune-DATE-TIME.")
]
_Resume = Annotated[
    Path | None, typer.Option(help="A search that stopped: no training is done twice.")
]
_Cache = Annotated[bool, typer.Option(help="Keep decoded images for all trainings.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(tune))


def tune(
    data: options.Data = None,
    recipe: _Recipe = None,
    changes: options.Changes = None,
    strategy: _Strategy = "ladder",
    objective: _Objective = "val_loss",
    space: _Space = None,
    storage: _Storage = "",
    study: _Study = "",
    minutes: _Minutes = 0.0,
    trials: _Trials = 0,
    workers: _Workers = 0,
    retrain: _Retrain = False,
    out: _Out = None,
    resume: _Resume = None,
    cache: _Cache = True,
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
    """Search for a better recipe: change by change in pairs, or drawn from a declared space."""
    end_with_parent()
    if out is None and resume is None:
        options.refuse_among_images(data, train, validation, test)
    tuning = sightline.tune(
        data,
        recipe=recipe,
        changes=changes or (),
        strategy=strategy,
        objective=objective,
        space=space,
        storage=storage,
        study=study,
        minutes=minutes,
        trials=trials,
        workers=workers,
        retrain=retrain,
        out=out,
        resume=resume,
        cache=cache,
        allow_leak=allow_leak,
        progress=console.progress(as_json),
        **options.source_options(locals()),
    )
    if as_json:
        console.show_json(tuning.to_dict())
    else:
        _show(tuning)


def _show(tuning: Tuning) -> None:
    for each in tuning.ablations:
        console.show(f"{each.name.capitalize()}. {each.sentence}")
    console.show(tuning.ended)
    console.show(tuning.optimism)
    if tuning.changes and tuning.first and tuning.best and tuning.best.value is not None:
        console.show(
            f"{tuning.objective}: {tuning.first.value:.4f} ({tuning.recipe}) to "
            f"{tuning.best.value:.4f} (best)"
        )
    if tuning.best and tuning.best.run:
        console.show(f"Best run: {Path(tuning.folder) / 'trials' / tuning.best.run}")
    console.show(f"Best recipe: {Path(tuning.folder) / 'best.toml'}")
    console.show(f"Page: {Path(tuning.folder) / 'tune.html'}")

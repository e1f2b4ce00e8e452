"""lr-find."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline import runs
from sightline.cli import console, options
from sightline.data.sources.walk import absolute
from sightline.records.rates import RateCurve

Compare = Annotated[
    list[float] | None,
    typer.Option(help="Train briefly at each of these rates, e.g. 0.1 0.01 0.001."),
]
CompareSteps = Annotated[
    int | None,
    typer.Option(help="Steps of each; by default three epochs, at most 300."),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for it all; by default lr-find/NAME-DATE-TIME.")
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("lr-find", cls=options.SeveralNumbers)(console.told_plainly(lr_find))


def lr_find(
    data: options.Data = None,
    recipe: options.Recipe = "auto",
    changes: options.Changes = None,
    compare: Compare = None,
    compare_steps: CompareSteps = None,
    lowest: Annotated[float, typer.Option(help="The rate that the test begins with.")] = 1e-7,
    highest: Annotated[float, typer.Option(help="The rate that it ends with.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Rates that it tries, a step each.")] = 120,
    out: Out = None,
    cache: Annotated[bool, typer.Option(help="Keep decoded images for trainings.")] = True,
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
    """Find a learning rate: watch the objective while the rate rises; compare given rates."""
    if out is None:
        options.refuse_among_images(data, train, validation, test)
    folder = out or _folder(data or labels or train)
    curve = sightline.find_learning_rate(
        data,
        recipe=recipe,
        changes=changes or (),
        compare=compare or (),
        compare_steps=compare_steps,
        lowest=lowest,
        highest=highest,
        steps=steps,
        out=folder,
        cache=cache,
        allow_leak=allow_leak,
        progress=console.progress(as_json),
        **options.source_options(locals()),
    )
    if as_json:
        console.show_json({**curve.to_dict(), "folder": str(folder)})
    else:
        _show(curve, folder)


def _folder(given: Path | None) -> Path:
    """Return a new folder, called after the images."""
    path = Path(absolute(given)) if given is not None else Path()
    name = path.stem if path.is_file() else path.name
    return runs.new_run_path(name or "images", parent=Path("lr-find"))


def _show(curve: RateCurve, folder: Path) -> None:
    """Print what the rules found, the comparison, the suggestion, and where the page is."""
    console.show(curve.ended)
    if curve.steepest is not None and curve.lowest is not None:
        console.show_table(
            ["rule", "learning rate"],
            [
                ["where the objective falls fastest", f"{curve.steepest:.2g}"],
                [
                    f"a tenth of the rate where it is lowest ({curve.lowest:.2g})",
                    f"{curve.lowest / 10:.2g}",
                ],
            ],
        )
    if curve.reached:
        last = max(curve.comparison["step"])
        console.show_table(
            ["learning rate", f"val_loss after {last:,} steps"],
            [[f"{rate:g}", _reached(curve, rate)] for rate in curve.reached],
        )
    if curve.change:
        console.show(f"Suggestion, the lower of the two: --set {curve.change}")
    else:
        console.show("The objective never fell clearly, so there is no learning rate to suggest.")
    console.show(f"Page: {folder / 'rates.html'}")


def _reached(curve: RateCurve, rate: float) -> str:
    if rate in curve.diverged:
        return f"diverged in step {curve.diverged[rate] + 1:,}"
    return f"{curve.reached[rate]:.4f}{'  the lowest' if rate == curve.best else ''}"

"""preview."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli import console, options
from sightline.errors import DataError
from sightline.workflow import previewing

Data = Annotated[
    Path | None,
    typer.Argument(help="Images as for `train`, a saved manifest, or a run folder."),
]
Recipe = Annotated[
    str | None,
    typer.Option(help="A name or a .toml file; by default the run's own, else auto."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one value of the recipe, e.g. augment.rotation=30."),
]
Count = Annotated[int, typer.Option(help="Images to draw on, 1 to 24.")]
Out = Annotated[
    Path | None, typer.Option(help="The page, or a folder for preview.html; by default here.")
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(console.told_plainly(preview))


def preview(
    data: Data = None,
    recipe: Recipe = None,
    changes: Changes = None,
    count: Count = 6,
    out: Out = None,
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
    """Draw each random change of a recipe at its extremes, on your own training images."""
    source = options.source_options(locals())
    if data is None and not source:
        raise DataError("there are no images to draw on. Give a folder, a manifest or a run.")
    if out is None:
        options.refuse_among_images(data, train, validation, test)
    drawn = previewing.draw(
        data,
        recipe=recipe,
        changes=changes or (),
        count=count,
        out=out or Path("preview.html"),
        **source,
    )
    if as_json:
        console.show_json(
            {
                "preview": str(drawn.path),
                "recipe": drawn.recipe,
                "changes": dict(drawn.changes),
                "images": list(drawn.record_ids),
            }
        )
        return
    if drawn.changes:
        console.show_table(
            ["augment", "value"],
            [[name, _in_words(value)] for name, value in drawn.changes.items()],
        )
    else:
        console.show(f"Recipe {drawn.recipe} changes nothing at random: [augment] is off.")
    console.show(f"Preview: {drawn.path}")


def _in_words(value: float | bool) -> str:
    return "true" if value is True else f"{value:g}"

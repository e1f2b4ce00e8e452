"""predict, evaluate, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

import sightline
from sightline.cli import console, options, showing
from sightline.errors import DataError
from sightline.records import Split

_CHOOSING, _CLOSER = "Choosing a class", "A closer look"

_Split = Annotated[
    options.SplitChoice | None,
    typer.Option(help="Which of the run's own splits; by default test."),
]
_Data = Annotated[
    Path | None,
    typer.Option(help="An external set instead: class folders, a manifest, or a table."),
]
_LeakEffect = Annotated[
    bool,
    typer.Option("--leak-effect", help="The metrics with and without leaked images."),
]
_Threshold = Annotated[
    str | None,
    typer.Option(
        help="How a class is chosen from now on, found on validation: f1, youden, "
        "sensitivity=0.95, specificity=0.9, a probability, costs or argmax; f1:CLASS.",
        rich_help_panel=_CHOOSING,
    ),
]
_Costs = Annotated[
    Path | None,
    typer.Option(
        help="What each mistake costs: a .csv with the classes on two sides, or .toml.",
        rich_help_panel=_CHOOSING,
    ),
]
_Coverage = Annotated[
    float,
    typer.Option(
        help="How often a set of classes is to hold the true one.", rich_help_panel=_CHOOSING
    ),
]
_SliceBy = Annotated[
    list[str] | None,
    typer.Option(
        help="A column whose values are judged apart: age, sex, width ...; again for more.",
        rich_help_panel=_CLOSER,
    ),
]
_Metadata = Annotated[
    Path | None,
    typer.Option(help="The table with these columns, one row an image.", rich_help_panel=_CLOSER),
]
_Neighbours = Annotated[
    bool,
    typer.Option(
        "--neighbours",
        help="Find the training images most like each mistake.",
        rich_help_panel=_CLOSER,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(predict))
    app.command()(console.told_plainly(evaluate))
    app.command()(console.told_plainly(compare))
    app.command()(console.told_plainly(report))


def predict(
    run: options.Run,
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders at any depth.")],
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file, one row an image.")] = Path(
        "predictions.csv"
    ),
    follow_links: options.FollowLinks = False,
    weights: options.Weights = options.WeightsChoice.best,
    calibrated: Annotated[
        bool,
        typer.Option("--calibrated", help="Probabilities that evaluate calibrated on validation."),
    ] = False,
    coverage: Annotated[
        float | None,
        typer.Option(help="Add the set of classes that holds the true one so often, e.g. 0.9."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Say what each image is, labelled or not: every class's probability, keyed by file name."""
    written = sightline.predict(
        run,
        paths,
        out=out,
        weights=weights.value,
        calibrated=calibrated,
        coverage=_coverage(coverage),
        follow_links=follow_links,
        progress=console.progress(as_json),
    )
    read = pl.scan_csv if written.suffix.lower() == ".csv" else pl.scan_parquet
    counts = read(written, glob=False).select(
        rows=pl.len(), unreadable=pl.col("reason").is_not_null().sum()
    ).collect().row(0, named=True)  # fmt: skip
    if as_json:
        console.show_json({"out": str(written), **counts})
        return
    unread = f", {counts['unreadable']:,} of them unreadable" if counts["unreadable"] else ""
    console.show(f"{counts['rows']:,} images{unread}: {written}")


def evaluate(
    run: options.Run,
    split: _Split = None,
    data: _Data = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    weights: options.Weights = options.WeightsChoice.best,
    allow_leak: options.AllowLeak = False,
    leak_effect: _LeakEffect = False,
    threshold: _Threshold = None,
    costs: _Costs = None,
    coverage: _Coverage = 0.9,
    slice_by: _SliceBy = None,
    metadata: _Metadata = None,
    neighbours: _Neighbours = False,
    as_json: options.Json = False,
) -> None:
    """Say how good a run is, on one of its splits or on images it has never seen."""
    source = options.source_options(locals())
    judged = sightline.evaluate(
        run,
        split=_split(split, external=data is not None or bool(source)),
        data=data,
        weights=weights.value,
        allow_leak=allow_leak,
        leak_effect=leak_effect,
        threshold=threshold,
        costs=costs,
        coverage=_coverage(coverage),
        slice_by=slice_by or (),
        metadata=metadata,
        neighbours=neighbours,
        progress=console.progress(as_json),
        **source,
    )
    if as_json:
        console.show_json(judged.to_dict())
    else:
        showing.show(judged)


def compare(
    several: Annotated[list[Path], typer.Argument(help="Two run folders or more.")],
    split: _Split = None,
    data: _Data = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    weights: options.Weights = options.WeightsChoice.best,
    allow_leak: options.AllowLeak = False,
    as_json: options.Json = False,
) -> None:
    """Say whether one run is better than another, and whether this set can show it at all."""
    source = options.source_options(locals())
    compared = sightline.compare(
        several,
        split=_split(split, external=data is not None or bool(source)),
        data=data,
        weights=weights.value,
        allow_leak=allow_leak,
        progress=console.progress(as_json),
        **source,
    )
    if as_json:
        console.show_json(compared.to_dict())
    else:
        showing.show_comparison(compared)


def report(run: options.Run, as_json: options.Json = False) -> None:
    """Write report.html, one self-contained page, and model_card.md into the run folder."""
    path = sightline.report(run, progress=console.progress(as_json))
    if as_json:
        console.show_json({"report": str(path)})
    else:
        console.show(f"Report: {path}")


def _split(given: options.SplitChoice | None, *, external: bool) -> Split:
    """Return which of the runs' own splits is judged, unless an external set is.

    Raises:
        DataError: Both were given.
    """
    if given is not None and external:
        raise DataError(
            f"--split {given.value} is one of the run's own splits, and an external set was given "
            "as well, all of whose images are judged. Give one or the other."
        )
    return (given or options.SplitChoice.test).value


def _coverage(value: float | None) -> Any:
    if value is not None and not 0 < value < 1:
        raise DataError(f"--coverage must be over 0 and under 1, got {value:g}, e.g. 0.9.")
    return value

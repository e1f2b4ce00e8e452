"""predict, evaluate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import sightline
from sightline.cli import console, options
from sightline.errors import DataError
from sightline.records import Evaluation, Interval, LeakEffect, rounded

_OF_A_CLASS = ("precision", "recall", "f1", "roc_auc", "average_precision")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(predict))
    app.command()(console.told_plainly(evaluate))
    app.command()(console.told_plainly(report))


def predict(
    run: options.Run,
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders at any depth.")],
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file, one row an image.")] = Path(
        "predictions.csv"
    ),
    follow_links: options.FollowLinks = False,
    weights: options.Weights = options.WeightsChoice.best,
    as_json: options.Json = False,
) -> None:
    """Say what each image is, labelled or not: every class's probability, keyed by file name."""
    written = sightline.predict(
        run,
        paths,
        out=out,
        weights=weights.value,
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
    split: Annotated[
        options.SplitChoice | None,
        typer.Option(help="Which of the run's own splits; by default test."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="An external set instead: class folders, a manifest, or a table."),
    ] = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    weights: options.Weights = options.WeightsChoice.best,
    allow_leak: options.AllowLeak = False,
    leak_effect: Annotated[
        bool,
        typer.Option("--leak-effect", help="The metrics with and without leaked images."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Say how good a run is, on one of its splits or on images it has never seen."""
    source = options.source_options(locals())
    if split is not None and (data is not None or source):
        raise DataError(
            f"--split {split.value} is one of the run's own splits, and an external set was given "
            "as well, all of whose images are judged. Give one or the other."
        )
    judged = sightline.evaluate(
        run,
        split=(split or options.SplitChoice.test).value,
        data=data,
        weights=weights.value,
        allow_leak=allow_leak,
        leak_effect=leak_effect,
        progress=console.progress(as_json),
        **source,
    )
    if as_json:
        console.show_json(judged.to_dict())
    else:
        show(judged)


def report(run: options.Run, as_json: options.Json = False) -> None:
    """Write report.html, one self-contained page, and history.png into the run folder."""
    path = sightline.report(run)
    if as_json:
        console.show_json({"report": str(path)})
    else:
        console.show(f"Report: {path}")


def show(judged: Evaluation) -> None:
    """Print the figures of one evaluation."""
    unread = f", {judged.unreadable} unreadable ones left out" if judged.unreadable else ""
    console.show(
        f"{judged.source}: {judged.count:,} images{unread}; "
        f"{judged.weights} weights, epoch {judged.epoch + 1}"
    )
    if judged.caution:
        console.show(f"Caution: {judged.caution}.")
    if judged.looks:
        console.show(f"Looks at this test split so far, by any run of yours: {judged.looks:,}.")
    console.show_table(
        ["metric", "value"],
        [[name, _number(value)] for name, value in judged.metrics.items()],
    )
    console.show("")
    console.show_table(
        ["class", "images", *_OF_A_CLASS],
        [
            [
                scores.name,
                f"{scores.count:,}",
                *(_number(scores.metrics[name]) for name in _OF_A_CLASS),
            ]
            for scores in judged.classes
        ],
    )  # fmt: skip
    console.show("\nconfusion matrix (row: true class, column: predicted)")
    console.show_table(
        ["", *judged.class_names],
        [
            [name, *(f"{count:,}" for count in row)]
            for name, row in zip(judged.class_names, judged.confusion.tolist(), strict=True)
        ],
    )
    if judged.leak_effect is not None:
        _show_leak_effect(judged.leak_effect)


def _show_leak_effect(effect: LeakEffect) -> None:
    """Print the metrics with and without leaked images, each with its 95 % interval."""
    console.show(
        f"\n{effect.leaked:,} of {effect.count:,} images have a copy or a group mate among those "
        "learned from (value, 95 % interval)"
    )
    console.show_table(
        ["metric", "with them", "without them"],
        [
            [name, _interval(interval), _interval(effect.clean.get(name))]
            for name, interval in effect.whole.items()
        ],
    )


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "no image is left"
    return f"{rounded(interval.value)}  ({rounded(interval.low)} to {rounded(interval.high)})"


def _number(value: float | None) -> str:
    return "not defined" if value is None else rounded(value)

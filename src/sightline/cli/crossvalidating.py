"""cv."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline.cli import console, options
from sightline.records import CrossValidation, Interval, Spread, edges_of, rounded
from sightline.workflow import sharing


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(cv))


def cv(
    data: options.Data = None,
    recipe: options.MaybeRecipe = None,
    changes: options.Changes = None,
    folds: Annotated[
        int | None,
        typer.Option(help="So many; by default those that the images came with, else 5."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="So often the images are dealt anew.")] = 1,
    workers: Annotated[
        int, typer.Option(help="Processes that train folds side by side, sharing the processors.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the whole; by default runs/cv-DATE-TIME.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="One that stopped: no fold is trained twice.")
    ] = None,
    cache: Annotated[bool, typer.Option(help="Keep decoded images for all folds.")] = True,
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
    """Judge a recipe on every image, by networks that learned from the other folds."""
    if sharing.is_worker() and resume is not None:
        _take_part(resume, as_json)
        return
    if out is None and resume is None:
        options.refuse_among_images(data, train, validation, test)
    with _telling_sigterm():
        result = sightline.cv(
            data,
            recipe=recipe,
            changes=changes or (),
            folds=folds,
            repeats=repeats,
            workers=workers,
            out=out,
            resume=resume,
            cache=cache,
            allow_leak=allow_leak,
            progress=console.progress(as_json),
            **options.source_options(locals()),
        )
    if as_json:
        console.show_json(result.to_dict())
    else:
        _show(result)
    if result.failed:
        raise typer.Exit(console.WRONG_USE)


def _take_part(folder: Path, as_json: bool) -> None:
    """Work for the process that started this one, and end with it."""
    from sightline.workflow.crossvalidating import take_part  # it loads much

    sharing.end_with_parent()
    take_part(folder, console.progress(as_json))


@contextmanager
def _telling_sigterm() -> Iterator[None]:
    """Leave with 143 where SIGTERM ended a fold, as a training does."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        if stopped.args == (signal.SIGTERM,):
            raise typer.Exit(128 + signal.SIGTERM) from None
        raise


def _show(result: CrossValidation) -> None:
    times = f" {result.repeats} times" if result.repeats > 1 else ""
    console.show(
        f"{result.count:,} images in {result.num_folds} folds{times}; figures of "
        f"{len(result.finished)} of {len(result.folds)} trainings"
    )
    console.show_table(
        ["metric", "mean", "± between folds", "95 % of the mean", "all images", "95 %"],
        [_row(name, spread) for name, spread in result.metrics.items()],
    )
    if result.leak_allowed:
        console.show("Given folds that may share groups or copies were allowed (--allow-leak): the "
                     "figures may look better than they are.")  # fmt: skip
    for fold in result.failed:
        console.show(f"{fold.name} failed: {fold.reason}")
    if result.failed:
        console.show(f"Try again what failed: sightline cv --resume {result.folder}")
    console.show(f"Predictions: {Path(result.folder) / 'predictions.parquet'}")
    console.show(f"Page: {Path(result.folder) / 'cv.html'}")


def _row(name: str, spread: Spread) -> list[str]:
    pooled = spread.pooled
    return [
        name,
        f"{rounded(spread.mean)}{f' ({spread.lacking})' if spread.lacking else ''}",
        rounded(spread.deviation),
        _edges(spread.interval),
        rounded(pooled.value if pooled else None),
        _edges(pooled),
    ]


def _edges(interval: Interval | None) -> str:
    return edges_of(interval) if interval is not None else "–"

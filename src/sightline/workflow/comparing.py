"""Which of several runs is better, as far as one set of images can show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sightline import runs
from sightline.errors import DataError
from sightline.judging import evaluation
from sightline.progress import Progress, Shown
from sightline.recipes import flat
from sightline.records import SPLITS, Evaluation, Predictions, RunsCompared, Split, Weights
from sightline.runs import Run
from sightline.workflow.judging import evaluate

_ABSENT = "-"


def compare(
    several: Sequence[Run | str | Path],
    *,
    split: Split = "test",
    data: str | Path | None = None,
    weights: Weights = "best",
    progress: Progress | None = None,
) -> RunsCompared:
    """Return how every later run differs from the first: in its figures, and in its recipe.

    The images that both judged are compared, each by its own weights and decision. Of their own
    splits, figures that a run has of these weights are used as they are, without another look; a
    run that has none, and every run on an external set, is evaluated first.

    Args:
        several: Two or more runs or their folders, of the same classes.
        split: Which split of their manifests, when no external set is given.
        data: An external set: what `evaluate` takes.
        weights: "best", "last" or "average".
        progress: Where the bar goes; by default to the terminal or notebook.

    Raises:
        DataError: There are fewer than two runs, one is named twice, their classes differ, they
            judged no image that is the same, or the labels or the content of one image differ; or
            as `evaluate`.
        RunError: As `evaluate`.
        ValueError: There is no split, or no weights, of that name.
    """
    given = [several] if isinstance(several, (str, Path, Run)) else several
    opened = [runs.open_run(each) for each in given]
    if len(opened) < 2:
        raise DataError(f"two runs or more are compared, got {len(opened)}. Name another one.")
    names = _names(opened)
    _refuse_other_classes(opened, names)
    if data is None and split in SPLITS:
        _refuse_other_images(opened, names, split)
    shown = progress or Shown()
    judged = [_judged(run, split, data, weights, shown) for run in opened]
    predictions = {
        name: _predictions(each, found)
        for name, each, found in zip(names, opened, judged, strict=True)
    }
    return RunsCompared(
        tuple(names), tuple(judged), evaluation.compare_runs(predictions), _differences(opened)
    )


def _names(opened: Sequence[Run]) -> list[str]:
    """Return what the runs are called: their names, or their paths where two share a name."""
    places = [run.path.resolve() for run in opened]
    twice = [run.path for run, place in zip(opened, places, strict=True) if places.count(place) > 1]
    if twice:
        raise DataError(f"{twice[-1]} was named twice. Name different runs.")
    names = [place.name for place in places]
    return names if len(set(names)) == len(names) else [str(run.path) for run in opened]


def _judged(
    run: Run, split: Split, data: str | Path | None, weights: Weights, progress: Progress
) -> Evaluation:
    """Return the run's figures of these images and weights; it is evaluated where it has none."""
    if data is None and split in SPLITS:
        for each in run.evaluations:
            kept = run.predictions_path(each.source, weights).exists()
            if (each.source, each.weights) == (split, weights) and kept and run.is_of(each):
                return each
        progress.say(
            f"{run.path} has no figures and predictions of its {split} split by the {weights} "
            "weights that it has now: it is evaluated."
        )
    return evaluate(run, split=split, data=data, weights=weights, progress=progress)


def _predictions(run: Run, judged: Evaluation) -> Predictions:
    try:
        return run.predictions(judged.source, judged.weights)
    except DataError as error:
        raise DataError(
            f"{str(error).rstrip('.')}. Remove that file and compare again: {run.path} is then "
            "evaluated anew."
        ) from error


def _refuse_other_classes(opened: Sequence[Run], names: Sequence[str]) -> None:
    first, *others = (list(run.model["class_names"]) for run in opened)
    for name, classes in zip(names[1:], others, strict=True):
        if classes != first:
            raise DataError(
                f"{names[0]} has the classes {first} and {name} {classes}; only runs of the same "
                "classes, in the same order, can be compared."
            )


def _refuse_other_images(opened: Sequence[Run], names: Sequence[str], split: Split) -> None:
    """Refuse runs whose images have the same names and are others."""
    first, *others = (run.manifest.of_split(split).select("record_id", "sha256") for run in opened)
    for name, images in zip(names[1:], others, strict=True):
        both = first.join(images, on="record_id", suffix="_other")
        unlike = both.filter(pl.col("sha256") != pl.col("sha256_other"))["record_id"]
        if len(unlike):
            raise DataError(
                f"{len(unlike):,} {split} images of {names[0]} and {name} have the same name and "
                f"not the same content, first {unlike[0]!r}: the runs are of different images. "
                "Judge both on one set: --data."
            )


def _differences(opened: Sequence[Run]) -> dict[str, tuple[Any, ...]]:
    """Return the values of the recipes that are not the same in all runs."""
    recipes = [flat(run.recipe) for run in opened]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    rows = {key: tuple(recipe.get(key, _ABSENT) for recipe in recipes) for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}

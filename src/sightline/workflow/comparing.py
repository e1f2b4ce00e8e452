"""Which of several runs is better, as far as one set of images can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import polars as pl

from sightline import runs
from sightline.data.sources import SourceOptions
from sightline.errors import DataError
from sightline.judging import evaluation
from sightline.progress import Progress, Shown
from sightline.recipes import flat
from sightline.records import SPLITS, Evaluation, Predictions, RunsCompared, Split, Weights
from sightline.runs import Run
from sightline.workflow.judging import evaluate, of_decision

_ABSENT = "-"


def compare(
    several: Sequence[Run | str | Path],
    *,
    split: Split = "test",
    data: str | Path | None = None,
    weights: Weights = "best",
    allow_leak: bool = False,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> RunsCompared:
    """Return how every later run differs from the first: in its figures, and in its recipe.

    The images that both judged are compared, each by its own weights and decision. Of their own
    splits, what a run has kept of these weights is used, without another look; where a class was
    chosen otherwise then, the figures are those of its decision now, and are not kept. A run that
    has kept nothing, and every run on an external set, is evaluated first.

    Args:
        several: Two or more runs or their folders, of the same classes.
        split: Which split of their manifests, when no external set is given.
        data: An external set: what `evaluate` takes.
        weights: "best", "last" or "average".
        allow_leak: As `evaluate`, where a run is evaluated.
        progress: Where the bar goes; by default to the terminal or notebook.
        **source: As `scan`, for an external set.

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
    external = data is not None or any(source.values())
    if not external and split in SPLITS:
        _refuse_other_images(opened, names, split)
    shown = progress or Shown()
    judged, predictions = list[Evaluation](), dict[str, Predictions]()
    for name, run in zip(names, opened, strict=True):
        found = None if external else _kept(run, split, weights, shown)
        if found is None:
            each = evaluate(
                run, split=split, data=data, weights=weights, allow_leak=allow_leak,
                progress=shown, **source,
            )  # fmt: skip
            found = each, _predictions(run, each)
        judged.append(found[0])
        predictions[name] = found[1]
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


def _kept(
    run: Run, split: Split, weights: Weights, progress: Progress
) -> tuple[Evaluation, Predictions] | None:
    """Return the run's figures of a split by its decision now, and what they are of.

    None, and that is said, where it has none of the weights that it has now.
    """
    for each in run.evaluations if split in SPLITS else ():
        kept = run.predictions_path(split, weights).exists()
        if (each.source, each.weights) != (split, weights) or not kept or not run.is_of(each):
            continue
        found = _predictions(run, each)
        if found.content_hash() == each.predictions_hash:
            return _decided(run, each, found, progress)
    if split in SPLITS:
        progress.say(
            f"{run.path} has no figures and predictions of its {split} split by the {weights} "
            "weights that it has now: it is evaluated."
        )
    return None


def _decided(
    run: Run, judged: Evaluation, predictions: Predictions, progress: Progress
) -> tuple[Evaluation, Predictions]:
    """Return figures and predictions by the decision that the run has now."""
    now = runs.settled(run, run.kept(judged.weights)).decision
    predictions = replace(predictions, decision=now)
    if judged.decision == now:
        return judged, predictions
    progress.say(
        f"Since {run.path} was judged on its {judged.source} split, how a class is chosen has "
        f"changed: {now.sentence(judged.class_names)} Its figures here are by that."
    )
    return of_decision(run, judged, predictions), predictions


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

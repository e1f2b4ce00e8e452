"""What the curves of a training mean, and what to try next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sightline import runs
from sightline.errors import DataError, RunError
from sightline.judging import diagnosis
from sightline.progress import Progress, Shown
from sightline.records import Manifest, Split
from sightline.records.diagnosis import Diagnosis
from sightline.runs import Run
from sightline.workflow import describing

_NO_NUMBER = ("became nan", "became inf", "became -inf")  # as the reason of a run that failed says


def diagnose(
    run: Any,
    *,
    num_train: int | None = None,
    num_validation: int | None = None,
    num_test: int | None = None,
    class_counts: Mapping[str, int] | None = None,
    batch_size: int | None = None,
    patience: int | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Return what the curves of a training say: findings with evidence, advice, a recipe change.

    Every rule has an outcome: found, passed or not applicable. A finding that another explains is
    named as such and does not stand. Of a run, it is all kept in `diagnosis.json`; of one that is
    read-only, or still trains, it is not, and that is said. Repeatable; no framework is loaded.

    Args:
        run: A run or its folder; or of a training by another program: Keras' `History`, its
            dictionary, or a file of CSVLogger. Those do not say what follows.
        num_train: Training images.
        num_validation: Validation images; without them noise cannot be told from signal.
        num_test: Test images.
        class_counts: Training images of each class, e.g. {"cat": 120, "dog": 80}; without them
            guessing cannot be told from learning.
        batch_size: Images a step.
        patience: Of early stopping on val_loss, in epochs; 0 for none.
        progress: Where it is said that it is not kept; by default to the terminal or notebook.

    Raises:
        DataError: There is no such file, it is no history, or a number is negative.
        RunError: There is no run, no epoch was finished, or it is damaged.
    """
    given: dict[str, Any] = {
        "num_train": num_train, "num_validation": num_validation, "num_test": num_test,
        "class_counts": class_counts, "batch_size": batch_size, "patience": patience,
    }  # fmt: skip
    known = {name: value for name, value in given.items() if value is not None}
    is_path = isinstance(run, (str, os.PathLike))
    if is_path and not Path(run).is_dir():
        table = diagnosis.read_csv(Path(run))
        facts = diagnosis.facts_of_history(table, diagnosis.Known(**known))
        return diagnosis.diagnose(facts, source=str(run))
    if not is_path and not isinstance(run, Run):
        return diagnosis.diagnose(diagnosis.facts_of_history(run, diagnosis.Known(**known)))
    opened = runs.open_run(run)
    if known:
        raise DataError(
            f"the run {opened.path} says itself what {', '.join(known)} would. Leave that out."
        )
    done = diagnosis.diagnose(facts_of_run(opened), source=str(opened.path))
    _keep(opened, done, progress or Shown())
    return done


def _keep(run: Run, done: Diagnosis, progress: Progress) -> None:
    path = run.path / "diagnosis.json"
    try:
        with runs.locked(run.path):
            runs.write_sealed(path, done.to_dict())
    except RunError as error:
        progress.say(f"The diagnosis is not kept: {error}")
    except OSError as error:
        progress.say(f"The diagnosis is not kept: cannot write {path}: {error.strerror or error}.")


def facts_of_run(run: Run) -> diagnosis.TrainingFacts:
    """Return all that a run says about its training.

    Raises:
        RunError: No epoch was finished, unless for a loss that is no number; or it is damaged.
    """
    history, manifest, recipe = run.history, run.manifest, run.recipe
    ended = _ended(run)
    if run.state == runs.IMPORTED:
        raise RunError(
            f"the model of {run.path} was trained elsewhere, so its run has no curves. Diagnose "
            "what its training left: Keras' History, or a file of CSVLogger."
        )
    if run.state == runs.COMPOSED:
        raise RunError(
            f"{run.path} was put together from other runs and has no curves. Diagnose its members."
        )
    if not len(history) and ended != "no number":
        raise RunError(
            f"{run.path} has no epoch to diagnose: the run is {run.state!r}. Train it first."
        )
    names = [name for name, kind in history.table.schema.items() if kind.is_numeric()]
    return diagnosis.TrainingFacts(
        columns={
            name: history[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            for name in names
            if name != "epoch"
        },
        num_train=len(manifest.of_split("train")),
        num_validation=len(manifest.of_split("validation")),
        num_test=len(manifest.of_split("test")),
        class_counts=_counts(manifest, "train"),
        validation_counts=_counts(manifest, "validation"),
        batch_size=int(recipe.train.batch_size) if recipe.train.batch_size != "auto" else None,
        best_epoch=history.best_epoch,
        monitor=recipe.stop.monitor,
        patience=recipe.stop.patience,
        min_delta=recipe.stop.min_delta,
        ended=ended,
        recipe=recipe,
        summary=run.summary,
        evaluations=tuple(each for each in run.evaluations if describing.stale(run, each) is None),
        findings=run.findings,
    )


def _counts(manifest: Manifest, split: Split) -> dict[str, int]:
    """Return the images of each class on a side; {} where it has none."""
    counts = manifest.counts().filter(pl.col("label").is_not_null())
    if split not in counts.columns:
        return {}
    return {str(label): int(count) for label, count in counts.select("label", split).iter_rows()}


def _ended(run: Run) -> diagnosis.Ended:
    """Return why there are no more epochs."""
    reason = str(run.info.get("reason", ""))
    if run.state == "failed":
        told = reason.lower()
        return "no number" if any(words in told for words in _NO_NUMBER) else "cut off"
    if run.state == "training":
        return "still training"
    if run.state != "finished":
        return "cut off"
    if reason.startswith("Stopped early"):
        return "stopped early"
    return "all epochs" if len(run.history) == run.recipe.train.epochs else "cut off"

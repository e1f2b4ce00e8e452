"""What an epoch comes to: its line of the history, and the words for it."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from sightline.data.stream import Fault, Stream, checksum
from sightline.errors import RunError
from sightline.judging import evaluation
from sightline.learning.training.schedules import LAID_OUT, LearningRate
from sightline.learning.training.standing import Standing, Tally
from sightline.progress import Progress
from sightline.recipes import Recipe
from sightline.records import Batch

_FLOAT32_STEP = 1e-6  # relative: optimizers keep the learning rate in float32
_DOWN = 0.1  # of the peak: what a learning rate has come down to that is no longer a high one


def count(tally: Tally, logs: Mapping[str, Any], batch: Batch) -> None:
    """Add what a step came to.

    Args:
        tally: Of the epoch.
        logs: Of Keras' step: "loss", and what `StepTally` counted.
        batch: What was trained on; a weight is 0 where a file could not be read.
    """
    confusion = np.asarray(keras.ops.convert_to_numpy(logs["confusion"]))
    tally.confusion += np.rint(confusion).astype(np.int64).reshape(tally.confusion.shape)
    if len(tally.ranks):
        ranks = np.asarray(keras.ops.convert_to_numpy(logs["ranks"]))
        tally.ranks += np.rint(ranks).astype(np.int64).reshape(tally.ranks.shape)
    tally.entropy += float(logs["entropy"])
    tally.objective += float(logs["loss"]) * len(batch.rows)  # the last batch may be smaller
    tally.records += len(batch.rows)
    tally.unread += int((batch.weights == 0).sum())
    tally.checksum = (tally.checksum + checksum(batch.rows)) % 2**64


def describe(
    standing: Standing, train: Stream, recipe: Recipe, model: keras.Model
) -> dict[str, Any]:
    """Return the training half of an epoch's line.

    `images` were seen, `distinct` of them different: with oversampling an image comes several
    times. One whose file could not be read in this epoch is in neither.

    Raises:
        RunError: As `add_up`.
    """
    tally = standing.tally
    distinct = add_up(tally, train, standing.epoch)
    metrics = evaluation.scores_from_confusion(tally.confusion)
    if len(tally.ranks):
        metrics["auc"] = evaluation.area_from_counts(tally.ranks)
    return {
        "epoch": standing.epoch,
        "objective": tally.objective / tally.images,
        "loss": tally.entropy / tally.images,
        **{name: metrics[name] for name in recipe.train.metrics},
        "learning_rate": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
        "images": tally.images,
        "distinct": distinct,
    }


def add_up(tally: Tally, train: Stream, epoch: int) -> int:
    """Return how many different images an epoch had, once all of them have come.

    Raises:
        RunError: The images that came are not those of the epoch, each as often as it should.
    """
    # Faults of this epoch, not of the stream: what could not be read once may be readable again.
    expected = train.num_records - tally.unread
    distinct = train.distinct(epoch)
    problem = ""
    if tally.records != train.num_records or not distinct <= tally.images == expected:
        problem = f"saw {tally.images} images, where {expected} were expected"
    elif tally.checksum != train.checksum(epoch):
        problem = f"saw {tally.images} images, but not those that belong to it, each once"
    if problem:
        raise RunError(
            f"epoch {epoch + 1} {problem}, so its figures would be wrong. What was reached before "
            "is kept: go on from there with --resume."
        )
    return distinct


def costs(tally: Tally, seconds: float) -> dict[str, Any]:
    """Return what the epoch took; `seconds` with its validation."""
    return {
        "seconds": round(seconds, 3),
        "seconds_waiting": round(tally.waiting, 3),
        "seconds_computing": round(tally.computing, 3),
        "images_per_second": round(tally.images / (tally.waiting + tally.computing), 1),
        "memory_mb": round(_resident_memory() / 1e6, 1),
    }


def watched(recipe: Recipe) -> set[str]:
    """Return the metrics of validation that the choice of weights and early stopping follow."""
    columns = {recipe.train.best, recipe.stop.monitor} - {"val_loss"}
    return {column.removeprefix("val_") for column in columns if column.startswith("val_")}


def say_faults(faults: Sequence[Fault], told: set[str], progress: Progress) -> None:
    """Name each unreadable file once in a training."""
    for fault in faults:
        if fault.record_id not in told:
            progress.say(f"left out, it cannot be read: {fault.message}")
            told.add(fault.record_id)


def say_unknown(
    row: Mapping[str, Any], followed: Iterable[str], told: set[str], progress: Progress
) -> None:
    """Say once of each followed column that it has no value, so that nothing goes by it."""
    for column in dict.fromkeys(followed):
        if not math.isfinite(row[column]) and column not in told:
            progress.say(
                f"{column} has no value in epoch {row['epoch'] + 1}, so the epoch counts as no "
                "better. An area has none where all validation images are of one class."
            )
            told.add(column)


def say_overruled(
    model: keras.Model, rate: LearningRate, wanted: float, told: set[str], progress: Progress
) -> None:
    """Say once that the recipe's schedule takes back what a callback made of the learning rate.

    Args:
        model: Its optimizer has the rate that a callback may have set.
        rate: The schedule; `current` is what the optimizer was last given.
        wanted: What it is given now.
        told: What was said before.
        progress: Where it is said.
    """
    kind = rate.recipe.schedule.kind
    found = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    known = (math.isclose(found, each, rel_tol=_FLOAT32_STEP) for each in (rate.current, wanted))
    if any(known) or kind == "constant" or "learning_rate" in told:
        return
    told.add("learning_rate")
    progress.say(
        f"A callback set the learning rate to {found:.3g}; the {kind} schedule of the recipe takes "
        f"it back, to {wanted:.3g}. schedule.kind=constant leaves it to callbacks."
    )


def epoch_in_words(row: Mapping[str, Any], epochs: int, improved: bool) -> tuple[str, str]:
    """Return the two lines that people read: what an epoch came to, and what it took.

    Args:
        row: The epoch's line of the history.
        epochs: Of the whole training.
        improved: Whether it is the best so far.
    """
    columns = [] if "val_loss" in row else ["loss"]
    for name in row:
        if name.startswith("val_") and name != "val_faults":
            columns += [each for each in (name.removeprefix("val_"), name) if each in row]
    values = "  ".join(f"{name} {row[name]:.4f}" for name in columns)
    best = "  best so far" if improved else ""
    faults = row["faults"] + row["val_faults"]
    in_validation = f" ({row['val_faults']} in validation)" if row["val_faults"] else ""
    return (
        f"epoch {row['epoch'] + 1:>3}/{epochs}  {values}  "
        f"{row['seconds']:.1f} s, {row['images_per_second']:.0f} images/s{best}",
        f"          {row['images']:,} images ({row['distinct']:,} distinct), "
        f"{faults} fault{'s' * (faults != 1)}{in_validation}, "
        f"{row['seconds_waiting']:.1f} s waiting, {row['seconds_computing']:.1f} s computing, "
        f"learning rate {row['learning_rate']:.3g}, {row['memory_mb'] / 1000:.1f} GB",
    )


def end_in_words(done: int, recipe: Recipe, standing: Standing, *, in_vain: bool = False) -> str:
    """Return why a training that was not interrupted ended.

    Args:
        done: Epochs that are finished.
        recipe: Resolved.
        standing: Where it stands.
        in_vain: Whether it was resumed for more epochs and ended before one of them: what ends it
            has to be raised as well.
    """
    if done == recipe.train.epochs:
        return f"All {done} epochs done." if done > 1 else "The one epoch is done."
    if recipe.stop.patience and standing.stop.wait >= recipe.stop.patience:
        return (
            f"Stopped early after {done} epochs: no better {standing.stop.column} "
            f"for {recipe.stop.patience}.{_to_raise('stop.patience') if in_vain else ''}"
        )
    if standing.is_late(recipe.stop.minutes):
        return (
            f"Stopped after {done} epoch{'s' * (done > 1)}: another would not end within "
            f"{recipe.stop.minutes:g} minutes.{_left_open(done, standing)}"
            f"{_still_high(done, recipe, standing)}"
            f"{_to_raise('stop.minutes') if in_vain else ''}"
        )
    asked = f"Stopped after {done} of {recipe.train.epochs} epochs, as a callback asked."
    return f"{asked}{_left_open(done, standing)}"


def _to_raise(key: str) -> str:
    return f" To train on, raise {key}."


def _still_high(done: int, recipe: Recipe, standing: Standing) -> str:
    """Return what to say of a learning rate that was to come down in epochs that time cut off."""
    schedule, rate = recipe.schedule, standing.rate
    share = rate.at(done * rate.steps_per_epoch - 1) / recipe.train.learning_rate
    if schedule.kind not in LAID_OUT or share < _DOWN:
        return ""
    return (
        f" The learning rate had not come down yet: it ended at {100 * share:.0f} % of its peak, "
        f"as the {schedule.kind} schedule is laid out over {recipe.train.epochs} epochs. A "
        f"training with train.epochs={done} ends where it is lowest."
    )


def _left_open(done: int, standing: Standing) -> str:
    """Return what to say of a training that ended before images had grown, or all had learnt."""
    if done and standing.is_to_thaw(done - 1):
        return f" Only the head has learnt yet: model.frozen_epochs is {standing.frozen}."
    if not done or standing.is_whole(done - 1):
        return ""
    share = standing.sizes[standing.part(done - 1)]
    return (
        f" Its images had not grown to their whole size yet: those of the last epoch were at "
        f"{share:g} of it."
    )


def _resident_memory() -> int:
    """Return this process's resident memory in bytes (its peak where the system tells no more)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text("ascii").split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

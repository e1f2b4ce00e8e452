"""The loop: epochs of Keras' compiled step, then validation by the one prediction loop.

Keras' own `fit` has no batch offset, overwrites the weights at its end when it averages them and
keeps no exact state; so the loop is ours, and the step inside stays Keras'.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline.data.stream import Fault, Stream
from sightline.errors import RunError
from sightline.judging import evaluation
from sightline.learning.prediction import score
from sightline.learning.training.interruption import StopRequest, stop_requests
from sightline.learning.training.memory import ReleaseMemory
from sightline.learning.training.saving import Keeper, averaged_weights
from sightline.learning.training.schedules import LearningRate, Watch
from sightline.progress import Progress, Step
from sightline.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Attributes:
        state: "finished" or "interrupted".
        reason: One sentence.
        signal_number: The signal that interrupted it, else 0.
        epochs: Epochs finished.
    """

    state: str
    reason: str
    signal_number: int
    epochs: int


@dataclass(slots=True)
class _Tally:
    """Sums over the steps of one epoch."""

    confusion: npt.NDArray[np.int64]
    entropy: float = 0.0
    objective: float = 0.0
    records: int = 0
    unread: int = 0
    waiting: float = 0.0
    computing: float = 0.0

    @property
    def images(self) -> int:
        return int(self.confusion.sum())


def fit(
    model: keras.Model,
    *,
    train: Stream,
    validation: Stream,
    keeper: Keeper,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress,
) -> Outcome:
    """Train a compiled model and keep what it reaches in the keeper's run folder.

    Ctrl-C or SIGTERM ends it after the step in hand, of training or of validation; an epoch
    counts as finished, and is kept, once it was validated.

    Raises:
        RunError: The objective became NaN or infinite; the message names step and records.
        DataError: More files than the streams' budget could not be read.
    """
    recipe = keeper.recipe
    assert recipe.train.epochs != "auto", "the recipe is resolved before training"
    epochs, steps = recipe.train.epochs, len(train)
    rate = LearningRate.of(recipe, steps)
    best, stop = Watch(recipe.train.best), Watch(recipe.stop.monitor, recipe.stop.min_delta)
    listeners = _listeners(callbacks, model, recipe, steps)
    told: set[str] = set()  # files that were said to be unreadable
    model.stop_training = False
    listeners.on_train_begin()
    with stop_requests() as request:
        for epoch in range(epochs):
            started = time.perf_counter()
            listeners.on_epoch_begin(epoch)
            with progress.step(f"epoch {epoch + 1}/{epochs}", steps + len(validation)) as step:
                tally = _train_epoch(model, train, epoch, rate, listeners, step, request)
                if request.signal_number:
                    break
                with averaged_weights(model) as raw:
                    row = _describe(tally, train, recipe, epoch, model)
                    validated = _validate(model, validation, recipe, step, request)
                    if not validated:
                        break
                    faults = [*train.faults.values(), *validation.faults.values()]
                    row |= validated | _costs(tally, started)
                    row |= {"faults": len(train.faults), "val_faults": len(validation.faults)}
                    improved = best.better(row[best.column])
                    step_count = (epoch + 1) * steps
                    keeper.epoch_done(
                        model, row, step=step_count, best=improved, raw=raw, faults=faults
                    )
                    listeners.on_epoch_end(epoch, row)
            progress.say(_in_words(row, epochs, improved))
            _say_faults(faults, told, progress)
            if lowered := rate.epoch_done(row["val_loss"]):
                progress.say(lowered)
            stop.better(row[stop.column])
            if model.stop_training or (recipe.stop.patience and stop.wait >= recipe.stop.patience):
                break
    listeners.on_train_end()
    return _outcome(keeper, recipe, stop, request)


def _listeners(
    callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, recipe: Recipe, steps: int
) -> keras.callbacks.CallbackList:
    ours = [ReleaseMemory()] if recipe.train.release_memory else []
    return keras.callbacks.CallbackList(
        [*callbacks, *ours], model=model, epochs=recipe.train.epochs, steps=steps, verbose=0
    )


def _train_epoch(
    model: keras.Model,
    train: Stream,
    epoch: int,
    rate: LearningRate,
    listeners: keras.callbacks.CallbackList,
    step: Step,
    request: StopRequest,
) -> _Tally:
    classes = len(train.class_names)
    tally = _Tally(np.zeros((classes, classes), np.int64))
    before = time.perf_counter()
    for number, batch in enumerate(train.epoch(epoch)):
        ready = time.perf_counter()
        wanted = rate.at(epoch * len(train) + number)
        if wanted != rate.current:  # set when it changes: a user's callback may set it too
            model.optimizer.learning_rate = rate.current = wanted
        listeners.on_train_batch_begin(number)
        logs = model.train_on_batch(
            batch.images, batch.targets, sample_weight=batch.weights, return_dict=True
        )
        _check_finite(logs["loss"], train, batch.rows, epoch, number)
        confusion = np.asarray(keras.ops.convert_to_numpy(logs["confusion"]))
        tally.confusion += np.rint(confusion).astype(np.int64).reshape(classes, classes)
        tally.entropy += float(logs["entropy"])
        tally.objective += float(logs["loss"]) * len(batch)  # the last batch may be smaller
        tally.records += len(batch)
        tally.unread += int((batch.weights == 0).sum())
        listeners.on_train_batch_end(number, {"loss": logs["loss"]})
        tally.waiting += ready - before
        before = time.perf_counter()
        tally.computing += before - ready
        step.advance(note=f"loss {tally.entropy / max(tally.images, 1):.4f}")
        if request.signal_number:
            break
    return tally


def _check_finite(
    loss: float, train: Stream, rows: npt.NDArray[np.int64], epoch: int, number: int
) -> None:
    if np.isfinite(loss):
        return
    ids = ", ".join(train.record_id(int(row)) for row in rows[:5])
    raise RunError(
        f"the objective became {loss} in epoch {epoch + 1}, step {number + 1} (records {ids} ...). "
        "What earlier epochs reached is kept. Lower train.learning_rate, or look at these images."
    )


def _validate(
    model: keras.Model, validation: Stream, recipe: Recipe, step: Step, request: StopRequest
) -> dict[str, Any]:
    """Return val_loss and the metrics of the validation split; nothing when asked to stop."""
    probabilities, labels = [], []
    for scored in score(model, validation):
        if request.signal_number:
            return {}
        probabilities.append(scored.probabilities[scored.readable])
        labels.append(scored.labels[scored.readable])
        step.advance(note="validation")
    together, true = np.concatenate(probabilities), np.concatenate(labels)
    confusion = evaluation.confusion_matrix(true, together.argmax(axis=1), together.shape[1])
    metrics = evaluation.scores_from_confusion(confusion)
    columns = {*recipe.train.metrics, *_watched(recipe)}
    return {
        "val_loss": evaluation.cross_entropy(together, true),
        **{f"val_{name}": metrics[name] for name in sorted(columns)},
    }


def _describe(
    tally: _Tally, train: Stream, recipe: Recipe, epoch: int, model: keras.Model
) -> dict[str, Any]:
    """Return the training half of an epoch's line."""
    # Faults of this epoch, not of the stream: what could not be read once may be readable again.
    expected = train.num_records - tally.unread
    if tally.records != train.num_records or tally.images != expected:
        raise RunError(
            f"epoch {epoch + 1} saw {tally.images} images where {expected} were expected"
        )
    metrics = evaluation.scores_from_confusion(tally.confusion)
    return {
        "epoch": epoch,
        "objective": tally.objective / tally.images,
        "loss": tally.entropy / tally.images,
        **{name: metrics[name] for name in recipe.train.metrics},
        "learning_rate": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
    }


def _costs(tally: _Tally, started: float) -> dict[str, Any]:
    """Return what the epoch took."""
    return {
        "images": tally.images,
        "seconds": round(time.perf_counter() - started, 3),
        "seconds_waiting": round(tally.waiting, 3),
        "seconds_computing": round(tally.computing, 3),
        "images_per_second": round(tally.images / (tally.waiting + tally.computing), 1),
        "memory_mb": round(_resident_memory() / 1e6, 1),
    }


def _watched(recipe: Recipe) -> set[str]:
    columns = {recipe.train.best, recipe.stop.monitor} - {"val_loss"}
    return {column.removeprefix("val_") for column in columns}


def _say_faults(faults: list[Fault], told: set[str], progress: Progress) -> None:
    """Name each unreadable file once in a training."""
    for fault in faults:
        if fault.record_id not in told:
            progress.say(f"left out, it cannot be read: {fault.message}")
            told.add(fault.record_id)


def _in_words(row: dict[str, Any], epochs: int, improved: bool) -> str:
    left = [f"loss {row['loss']:.4f}", f"val_loss {row['val_loss']:.4f}"]
    left += [
        f"{name} {row[name]:.4f}"
        for name in row
        if name.startswith("val_") and name not in ("val_loss", "val_faults")
    ]
    best = "  best so far" if improved else ""
    return (
        f"epoch {row['epoch'] + 1:>3}/{epochs}  {'  '.join(left)}  "
        f"{row['seconds']:.1f} s, {row['images_per_second']:.0f} images/s{best}"
    )


def _outcome(keeper: Keeper, recipe: Recipe, stop: Watch, request: StopRequest) -> Outcome:
    done = keeper.card["last_epoch"] + 1 if keeper.card else 0
    if request.signal_number:
        reason = f"Interrupted after {done} finished epochs; their best weights are kept."
        if not done:
            reason = "Interrupted before an epoch was finished, so there are no weights yet."
        return Outcome("interrupted", reason, request.signal_number, done)
    if done == recipe.train.epochs:
        reason = f"All {done} epochs done." if done > 1 else "The one epoch is done."
    elif recipe.stop.patience and stop.wait >= recipe.stop.patience:
        reason = (
            f"Stopped early after {done} epochs: no better {stop.column} "
            f"for {recipe.stop.patience}."
        )
    else:
        reason = f"Stopped after {done} of {recipe.train.epochs} epochs, as a callback asked."
    return Outcome("finished", reason, 0, done)


def _resident_memory() -> int:
    """Return this process's resident memory in bytes (its peak where the system tells no more)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text("ascii").split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""The loop: epochs of Keras' compiled step, then validation by the one prediction loop.

Keras' own `fit` has no batch offset, overwrites the weights at its end when it averages them and
keeps no exact state; so the loop is ours, and the step inside stays Keras'.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import keras
import numpy as np

from sightline.data.stream import Stream
from sightline.errors import RunError
from sightline.learning.training import (
    diverging,
    freezing,
    randomness,
    stepping,
    telling,
    variables,
)
from sightline.learning.training.averaging import averaged_weights
from sightline.learning.training.diverging import Recent
from sightline.learning.training.interruption import StopRequest, stop_requests
from sightline.learning.training.listening import Listeners
from sightline.learning.training.saving import Keeper
from sightline.learning.training.standing import Standing
from sightline.learning.training.validating import Validation
from sightline.progress import Progress, Step
from sightline.recipes import Recipe
from sightline.runs import Checkpoint


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


def fit(
    model: keras.Model,
    *,
    train: Sequence[Stream],
    validation: Stream | None,
    keeper: Keeper,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress,
    resumed: Checkpoint | None = None,
) -> Outcome:
    """Train a compiled model and keep what it reaches in the keeper's run folder.

    Ctrl-C or SIGTERM ends it after the step in hand, of training or of validation, with a
    checkpoint; an epoch counts as finished once it was validated. From a checkpoint it goes on at
    the very next step, and ends as if it had never stopped: to the last bit on a processor, with
    the same versions and threads.

    Args:
        model: Compiled.
        train: One stream, or several of the same records and growing images, each for an equal
            part of the epochs.
        validation: In manifest order, without augmentation; None where there are no such images:
            there are no figures of them.
        keeper: Has the recipe and writes into the run folder.
        callbacks: The user's.
        progress: Where bars and lines go.
        resumed: Where to go on; None for the first step.

    Raises:
        RunError: The objective, or an output of the network in validation, became NaN or
            infinite; the message names epoch and records. Or the checkpoint does not fit the
            model, or the state of a callback cannot be saved.
        DataError: More files than the streams' budget could not be read.
    """
    recipe = keeper.recipe
    assert recipe.train.epochs != "auto", "the recipe is resolved before training"
    steps = len(train[0])
    listeners = Listeners.of(callbacks, model, recipe, steps, progress)
    standing = Standing.of(recipe, steps, len(train[0].class_names))
    assert len(train) == len(standing.sizes), "a stream for each size that the recipe asks for"
    judged = Validation(validation, listeners, recipe, keeper.run)
    loop = _Loop(model, tuple(train), judged, keeper, listeners, progress, standing, recipe)
    model.stop_training = False
    randomness.settle()
    listeners.to_keras.on_train_begin()
    listeners.refuse_unsaved()
    if resumed is None:
        keeper.begin()
        keeper.cadence.expect(variables.size(model))
    else:
        loop.restore(resumed)
    with stop_requests() as loop.request:
        while loop.goes_on():
            if not loop.run_epoch():
                break
        loop.save(last=True)
    listeners.to_keras.on_train_end(loop.latest)
    return loop.outcome()


@dataclass(slots=True)
class _Loop:
    """One training in progress."""

    model: keras.Model
    trains: tuple[Stream, ...]
    validation: Validation
    keeper: Keeper
    listeners: Listeners
    progress: Progress
    standing: Standing
    recipe: Recipe
    request: StopRequest = field(default_factory=StopRequest)
    recent: Recent = field(init=False)
    infinite: frozenset[str] = field(init=False)  # what is meant to be, as a mask
    told: set[str] = field(default_factory=set)  # files and columns of which something was said
    began: float = 0.0  # of the epoch, in this process
    more_epochs: bool = False  # it was resumed for more of them than there were to be
    latest: dict[str, Any] = field(default_factory=dict)  # the line of the latest epoch

    def __post_init__(self) -> None:
        """Remember no batch yet, and what the network began with."""
        self.recent = Recent.of(self.recipe)
        self.infinite = variables.meant_infinite(self.model)

    @property
    def train(self) -> Stream:
        """The stream of the epoch in hand."""
        return self.trains[self.standing.part()]

    def goes_on(self) -> bool:
        """Say whether there is another epoch to run."""
        return not (self.request.signal_number or self.is_over())

    def is_over(self) -> bool:
        """Say whether the recipe, or a callback, wants no further epoch; one begun is finished."""
        standing, stop = self.standing, self.recipe.stop
        if standing.batch:
            return False
        early = bool(stop.patience) and standing.stop.wait >= stop.patience
        done = standing.epoch >= int(self.recipe.train.epochs)
        asked = bool(self.model.stop_training)
        return early or done or asked or standing.is_late(stop.minutes)

    def run_epoch(self) -> bool:
        """Run what is left of the epoch in hand; False when asked to stop in the middle."""
        standing, train, epochs = self.standing, self.train, int(self.recipe.train.epochs)
        self.began, before = time.perf_counter(), standing.seconds
        if standing.epoch >= self.recipe.model.frozen_epochs:
            self._thaw()
        if not standing.batch:
            self.listeners.to_keras.on_epoch_begin(standing.epoch)
        total = len(train) + self.validation.batches * (1 + self.model.optimizer.use_ema)
        with self.progress.step(f"epoch {standing.epoch + 1}/{epochs}", total) as step:
            step.advance(standing.batch)
            row = self._validated(step) if self._train(step) else None
        if row is None:
            return False
        lowered = self._epoch_done(row)
        for line in telling.epoch_in_words(row, epochs, standing.best.wait == 0):
            self.progress.say(line)
        faults = [*train.faults.values(), *self.validation.faults.values()]
        telling.say_faults(faults, self.told, self.progress)
        followed = [standing.best.column] + [standing.stop.column] * bool(self.recipe.stop.patience)
        telling.say_unknown(row, followed, self.told, self.progress)
        if lowered:
            self.progress.say(lowered)
        standing.clock.latest_took(before + time.perf_counter() - self.began)
        if self.keeper.cadence.is_due():
            self.save()
            standing.clock.latest_took(before + time.perf_counter() - self.began)
        return True

    def _validated(self, step: Step) -> dict[str, Any] | None:
        """Return the line of an epoch that was trained, once it is kept; None: asked to stop."""
        standing, request = self.standing, self.request
        self._refuse_spoiled(variables.judged(self.model))
        row = telling.describe(standing, self.train, self.recipe, self.model)
        raw: dict[str, float] = {}
        if self.model.optimizer.use_ema:
            found = self.validation.judge_raw(self.model, standing.epoch, step, request)
            if found is None:
                return None
            raw = found
        with averaged_weights(self.model):
            validated = self.validation.judge(self.model, standing.epoch, step, request)
            if validated is None:
                return None
            row |= validated | raw | telling.costs(standing.tally, self._seconds())
            row |= {
                "faults": len(self.train.faults),
                "val_faults": len(self.validation.faults),
            }
            improved = standing.best.better(row[standing.best.column])
            self.keeper.epoch_done(self.model, row, best=improved)
        return row

    def _epoch_done(self, row: dict[str, Any]) -> str:
        """Go on to the next epoch, and tell everybody; return what to say of the learning rate.

        Callbacks see the trained weights, as in Keras, and not their average: what they change
        in them lasts.
        """
        standing = self.standing
        share = freezing.share_of_rate(self.recipe, standing.epoch + 1)
        lowered = ""
        if standing.counts():
            lowered = standing.rate.epoch_done(row.get("val_loss", math.nan), share=share)
            standing.stop.better(row.get(standing.stop.column, math.nan))
        standing.epoch_done(self._seconds())
        self.latest = row
        told = {name: value for name, value in row.items() if name != "epoch"}  # as Keras' logs
        self.listeners.to_keras.on_epoch_end(row["epoch"], told)
        return lowered

    def _train(self, step: Step) -> bool:
        """Train on the batches that are left; False when asked to stop."""
        standing, train = self.standing, self.train
        before = time.perf_counter()
        # Not up to the iterator's own end, where the stream would stand in the next epoch: stopped
        # while it is validated, this one has none of its steps to go, and they do not come again.
        for batch in islice(train.epoch(standing.epoch), len(train) - standing.batch):
            ready = time.perf_counter()
            number = standing.batch
            self.listeners.to_keras.on_train_batch_begin(number)
            self._set_rate()
            self.recent.add(standing.epoch, number, batch.rows)
            logs = stepping.step(self.model, batch.images, batch.targets, batch.weights)
            self._check_finite(float(logs["loss"]))
            telling.count(standing.tally, logs, batch)
            standing.batch += 1
            self.listeners.to_keras.on_train_batch_end(number, {"loss": logs["loss"]})
            standing.tally.waiting += ready - before
            before = time.perf_counter()
            standing.tally.computing += before - ready
            step.advance(note=f"loss {standing.tally.entropy / max(standing.tally.images, 1):.4f}")
            if self.request.signal_number:
                return False
            if self.keeper.cadence.step_done():
                self.save()
                before = time.perf_counter()
        return True

    def _set_rate(self) -> None:
        """Give the optimizer the rate of the step in hand; a constant one is left to callbacks."""
        standing, rate = self.standing, self.standing.rate
        wanted = rate.at(standing.epoch * len(self.train) + standing.batch)
        wanted *= freezing.share_of_rate(self.recipe, standing.epoch)
        if self.recipe.schedule.kind == "constant" and wanted == rate.current:
            return
        if not standing.batch:  # callbacks set it between epochs, and reading it takes time
            telling.say_overruled(self.model, rate, wanted, self.told, self.progress)
        self.model.optimizer.learning_rate = rate.current = wanted

    def _refuse_spoiled(self, arrays: variables.Arrays) -> None:
        """Refuse to validate or save weights that a step spoiled whose objective was finite."""
        if spoiled := variables.spoiled(arrays, meant=self.infinite):
            steps = self.standing.epoch * len(self.train) + self.standing.batch
            became = "NaN" if np.isnan(arrays[spoiled[0]]).any() else "infinite"
            raise self._diverged(f"{spoiled[0]} became {became} after {steps} steps")

    def _check_finite(self, loss: float) -> None:
        if not np.isfinite(loss):
            epoch, number = self.standing.epoch + 1, self.standing.batch + 1
            raise self._diverged(f"the objective became {loss} in epoch {epoch}, step {number}")

    def _diverged(self, what: str) -> RunError:
        run = self.keeper.run
        named, first = self.recent.named(self.train, run)
        return diverging.diverged(f"{what} ({named})", run, self.recipe, first=first)

    def _seconds(self) -> float:
        """Return what the epoch in hand has taken, in all processes."""
        return self.standing.seconds + time.perf_counter() - self.began

    def save(self, *, last: bool = False) -> None:
        """Write a checkpoint, once anything was trained; the last one has to succeed.

        Raises:
            RunError: It could not be written; or there is a NaN or an infinity in it, which a
                step may leave whose own objective was finite: going on from there would lead
                nowhere.
        """
        standing = self.standing
        if not (standing.epoch or standing.batch):
            return
        arrays = variables.read(self.model)
        self._refuse_spoiled(arrays)
        plain = standing.to_dict()
        if standing.batch:
            plain["seconds"] = self._seconds()
        meta = {
            "epoch": standing.epoch if standing.batch else standing.epoch - 1,
            "standing": plain,
            "stream": self.train.state(),
            "callbacks": self.listeners.state(),
            "randomness": randomness.state(),
            "frozen": freezing.is_frozen(self.model, self.recipe),
            "stop_training": bool(self.model.stop_training),
        }
        step = standing.epoch * len(self.train) + standing.batch
        self.keeper.save(step, arrays, meta, last=last)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where a checkpoint was saved."""
        meta: Mapping[str, Any] = checkpoint.meta
        if not meta["frozen"]:
            self._thaw()
        for line in self.standing.restore(meta["standing"]):
            self.progress.say(line)
        self._compile_in_order()
        variables.assign(self.model, checkpoint.tensors)
        self.train.resume(meta["stream"])
        self.keeper.restore(meta, epochs=self.standing.epoch)
        within = self.standing.epoch if self.standing.batch else None
        self.listeners.restore(meta["callbacks"], within=within)
        before = int(meta["standing"]["rate"]["epochs"])
        self.more_epochs = int(self.recipe.train.epochs) > before
        if meta["stop_training"]:
            self._stop_as_asked()
        randomness.restore(meta.get("randomness", {}))  # last: what is above may have drawn

    def _stop_as_asked(self) -> None:
        """Hold on to what a callback asked for, unless there are to be more epochs by now."""
        if self.more_epochs:
            self.progress.say("A callback had asked to stop; with more epochs it goes on.")
        else:
            self.model.stop_training = True

    def _thaw(self) -> None:
        """Let the whole network learn, if it does not yet."""
        if freezing.is_frozen(self.model, self.recipe):
            freezing.thaw(self.model, self.recipe, len(self.train.class_names))
            self.infinite = variables.meant_infinite(self.model)  # there is more of it now
            # The new optimizer has the rate it was compiled with. Before callbacks are told of the
            # epoch: theirs is to last where the schedule is constant.
            self.standing.rate.current = self.recipe.train.learning_rate
            self._set_rate()

    def _compile_in_order(self) -> None:
        """Take a step of each size that there is, the large one first, as an epoch does.

        TensorFlow compiles a second size for any size: begun with the other one, the same batch
        would be computed by other code, and differ in its last bits. The same goes for images
        that were smaller before.
        """
        standing = self.standing
        # Not all parts up to the one in hand: with fewer epochs, the first are left out.
        for part in dict.fromkeys(standing.part(epoch) for epoch in range(standing.epoch + 1)):
            train = self.trains[part]
            largest, classes = train.config.batch_size, len(train.class_names)
            for size in dict.fromkeys((largest, train.num_records - (len(train) - 1) * largest)):
                if size < largest or len(train) > 1:
                    pixels = (*train.config.image_size, train.config.channels)
                    images = np.zeros((size, *pixels), np.float32)
                    targets = np.zeros((size,) if classes == 2 else (size, classes), np.float32)
                    stepping.step(self.model, images, targets, np.ones(size, np.float32))

    def outcome(self) -> Outcome:
        """Return how it ended."""
        done = self.standing.epoch
        if self.request.signal_number and not self.is_over():
            reason = f"Interrupted after {done} finished epochs; their best weights are kept."
            if not done:
                reason = "Interrupted before an epoch was finished, so there are no weights yet."
            reason = f"{reason} Go on: sightline train --resume {self.keeper.run}"
            return Outcome("interrupted", reason, self.request.signal_number, done)
        in_vain = self.more_epochs and not self.latest
        reason = telling.end_in_words(done, self.recipe, self.standing, in_vain=in_vain)
        return Outcome("finished", reason, 0, done)

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
import numpy.typing as npt

from sightline.data.stream import Stream
from sightline.errors import RunError
from sightline.judging import evaluation
from sightline.learning.prediction import score
from sightline.learning.training import freezing, randomness, stepping, telling, variables
from sightline.learning.training.averaging import averaged_weights
from sightline.learning.training.interruption import StopRequest, stop_requests
from sightline.learning.training.listening import Listeners
from sightline.learning.training.saving import Keeper
from sightline.learning.training.standing import Standing
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
    validation: Stream,
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
        validation: In manifest order, without augmentation.
        keeper: Has the recipe and writes into the run folder.
        callbacks: The user's.
        progress: Where bars and lines go.
        resumed: Where to go on; None for the first step.

    Raises:
        RunError: The objective became NaN or infinite; the message names step and records. Or the
            checkpoint does not fit the model.
        DataError: More files than the streams' budget could not be read.
    """
    recipe = keeper.recipe
    assert recipe.train.epochs != "auto", "the recipe is resolved before training"
    steps = len(train[0])
    listeners = Listeners.of(callbacks, model, recipe, steps, progress)
    standing = Standing.of(recipe, steps, len(validation.class_names))
    loop = _Loop(model, tuple(train), validation, keeper, listeners, progress, standing, recipe)
    model.stop_training = False
    randomness.settle()
    listeners.to_keras.on_train_begin()
    if resumed is None:
        keeper.begin()
    else:
        loop.restore(resumed)
    with stop_requests() as loop.request:
        while loop.goes_on():
            if not loop.run_epoch():
                break
        loop.save(last=True)
    listeners.to_keras.on_train_end()
    return loop.outcome()


@dataclass(slots=True)
class _Loop:
    """One training in progress."""

    model: keras.Model
    trains: tuple[Stream, ...]
    validation: Stream
    keeper: Keeper
    listeners: Listeners
    progress: Progress
    standing: Standing
    recipe: Recipe
    request: StopRequest = field(default_factory=StopRequest)
    told: set[str] = field(default_factory=set)  # files that were said to be unreadable
    began: float = 0.0  # of the epoch, in this process

    @property
    def train(self) -> Stream:
        """The stream of the epoch in hand."""
        return self.trains[self._part()]

    def _part(self) -> int:
        """Return in which part of the epochs the one in hand is, one part a stream.

        Where there are fewer epochs than parts, the first parts are left out.
        """
        parts, epochs = len(self.trains), int(self.recipe.train.epochs)
        epoch = self.standing.epoch
        return min(max(epoch * parts // epochs, parts - epochs + epoch), parts - 1)

    def goes_on(self) -> bool:
        """Say whether there is another epoch to run."""
        return not (self.request.signal_number or self.model.stop_training or self.is_over())

    def is_over(self) -> bool:
        """Say whether the recipe wants no further epoch."""
        standing, stop = self.standing, self.recipe.stop
        early = stop.patience and standing.stop.wait >= stop.patience
        done = standing.epoch >= int(self.recipe.train.epochs)
        return bool(early) or done or standing.is_late(stop.minutes)

    def run_epoch(self) -> bool:
        """Run what is left of the epoch in hand; False when asked to stop in the middle."""
        standing, train, epochs = self.standing, self.train, self.recipe.train.epochs
        self.began = time.perf_counter()
        if standing.epoch >= self.recipe.model.frozen_epochs:
            self._thaw()
        if not standing.batch:
            self.listeners.to_keras.on_epoch_begin(standing.epoch)
        total = len(train) + len(self.validation) * (1 + self.model.optimizer.use_ema)
        with self.progress.step(f"epoch {standing.epoch + 1}/{epochs}", total) as step:
            step.advance(standing.batch)
            if not self._train(step):
                return False
            raw = self._validate_raw(step)
            if raw is None:
                return False
            with averaged_weights(self.model):
                row = telling.describe(standing, train, self.recipe, self.model)
                validated = self._validate(step)
                if not validated:
                    return False
                seconds = self._seconds()
                row |= validated | raw | telling.costs(standing.tally, seconds)
                row |= {"faults": len(train.faults), "val_faults": len(self.validation.faults)}
                improved = standing.best.better(row[standing.best.column])
                self.keeper.epoch_done(self.model, row, best=improved)
                lowered = standing.rate.epoch_done(row["val_loss"])
                standing.stop.better(row[standing.stop.column])
                standing.epoch_done(seconds)
                self.listeners.to_keras.on_epoch_end(row["epoch"], row)
        self.progress.say(telling.epoch_in_words(row, int(epochs), improved))
        faults = [*train.faults.values(), *self.validation.faults.values()]
        telling.say_faults(faults, self.told, self.progress)
        if lowered:
            self.progress.say(lowered)
        if self.keeper.cadence.is_due():
            self.save()
        return True

    def _train(self, step: Step) -> bool:
        """Train on the batches that are left; False when asked to stop."""
        standing, train = self.standing, self.train
        share = freezing.share_of_rate(self.recipe, standing.epoch)
        before = time.perf_counter()
        # Not up to the iterator's own end, where the stream would stand in the next epoch: stopped
        # while it is validated, this one has none of its steps to go, and they do not come again.
        for batch in islice(train.epoch(standing.epoch), len(train) - standing.batch):
            ready = time.perf_counter()
            number, rate = standing.batch, standing.rate
            wanted = rate.at(standing.epoch * len(train) + number) * share
            if wanted != rate.current:  # set when it changes: a user's callback may set it too
                self.model.optimizer.learning_rate = rate.current = wanted
            self.listeners.to_keras.on_train_batch_begin(number)
            logs = stepping.step(self.model, batch.images, batch.targets, batch.weights)
            self._check_finite(float(logs["loss"]), batch.rows)
            telling.count(standing.tally, logs, batch.weights)
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

    def _validate(self, step: Step) -> dict[str, Any]:
        """Return val_loss and the metrics of the validation split; nothing when asked to stop."""
        scored = self._score(step)
        if scored is None:
            return {}
        columns = sorted({*self.recipe.train.metrics, *telling.watched(self.recipe)})
        scores = evaluation.validation_scores(*scored, columns)
        return {
            "val_loss": evaluation.cross_entropy(*scored),
            **{f"val_{name}": value for name, value in scores.items()},
        }

    def _score(self, step: Step) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]] | None:
        """Return (N, K) probabilities and (N,) labels of what can be read; None: stop."""
        probabilities, labels = [], []
        for scored in score(self.model, self.validation):
            if self.request.signal_number:
                return None
            probabilities.append(scored.probabilities[scored.readable])
            labels.append(scored.labels[scored.readable])
            step.advance(note="validation")
        return np.concatenate(probabilities), np.concatenate(labels)

    def _validate_raw(self, step: Step) -> dict[str, Any] | None:
        """Return the val_loss of the trained weights where their average is judged; None: stop."""
        if not self.model.optimizer.use_ema:
            return {}
        scored = self._score(step)
        return {"raw_val_loss": evaluation.cross_entropy(*scored)} if scored else None

    def _check_finite(self, loss: float, rows: npt.NDArray[np.int64]) -> None:
        if np.isfinite(loss):
            return
        ids = ", ".join(self.train.record_id(int(row)) for row in rows[:5])
        epoch, number = self.standing.epoch + 1, self.standing.batch + 1
        raise self._diverged(
            f"the objective became {loss} in epoch {epoch}, step {number} (records {ids} ...)",
            "look at these images, or ",
        )

    def _diverged(self, what: str, first: str = "") -> RunError:
        """Return what to say of a training that came to no number, and what to do."""
        rate, run = self.recipe.train.learning_rate, self.keeper.run
        return RunError(
            f"{what}. What was reached before is kept. To go on from there, {first}lower the "
            f"learning rate: sightline train --resume {run} --set train.learning_rate={rate / 10:g}"
        )

    def _seconds(self) -> float:
        """Return what the epoch in hand has taken, in all processes."""
        return self.standing.seconds + time.perf_counter() - self.began

    def save(self, *, last: bool = False) -> None:
        """Write a checkpoint, once anything was trained; the last one has to succeed.

        Raises:
            RunError: It could not be written; or there is a NaN in it, which a step may leave
                whose own objective was finite: going on from there would lead nowhere.
        """
        standing = self.standing
        if not (standing.epoch or standing.batch):
            return
        arrays = variables.read(self.model)
        if spoiled := variables.not_numbers(arrays):
            steps = standing.epoch * len(self.train) + standing.batch
            raise self._diverged(f"{spoiled[0]} became NaN after {steps} steps")
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
        }
        step = standing.epoch * len(self.train) + standing.batch
        self.keeper.save(step, arrays, meta, last=last)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where a checkpoint was saved."""
        meta: Mapping[str, Any] = checkpoint.meta
        if not meta["frozen"]:
            self._thaw()
        self.standing.restore(meta["standing"])
        self._compile_in_order()
        variables.assign(self.model, checkpoint.tensors)
        self.train.resume(meta["stream"])
        self.keeper.restore(meta, epochs=self.standing.epoch)
        self.listeners.restore(meta["callbacks"])
        randomness.restore(meta.get("randomness", {}))  # last: what is above may have drawn

    def _thaw(self) -> None:
        """Let the whole network learn, if it does not yet."""
        if freezing.is_frozen(self.model, self.recipe):
            freezing.thaw(self.model, self.recipe, len(self.train.class_names))
            self.standing.rate.current = math.nan  # the new optimizer is to be told the rate

    def _compile_in_order(self) -> None:
        """Take a step of each size that there is, the large one first, as an epoch does.

        TensorFlow compiles a second size for any size: begun with the other one, the same batch
        would be computed by other code, and differ in its last bits. The same goes for images
        that were smaller before.
        """
        for train in self.trains[: self._part() + 1]:
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
        return Outcome("finished", telling.end_in_words(done, self.recipe, self.standing), 0, done)

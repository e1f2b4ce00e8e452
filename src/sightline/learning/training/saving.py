"""What is written while a training goes on, so that a crash costs little time and no result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.errors import RunError
from sightline.learning.models.forward import get_weights, with_own_scaling
from sightline.learning.training.cadence import Cadence
from sightline.progress import Progress
from sightline.recipes import Recipe, flat

_FOR_KERAS = "model.keras"
_TRIES = 3  # checkpoints in a row that may fail, e.g. on a full disk

_Weights = tuple[dict[str, npt.NDArray[np.generic]], int]  # and their epoch


@dataclass(slots=True)
class Keeper:
    """Writes history, checkpoints, the best weights and `model.json`.

    The best weights wait in memory for the next checkpoint: after a crash the training goes on
    from there, and comes by them again. Those that the checkpoints on the disk know stay there
    until others that know others are complete.

    Attributes:
        run: The run folder.
        recipe: Resolved.
        class_names: In output order.
        progress: Where it is said that something cannot be written.
        identity: What the training is one of; a checkpoint keeps it, and a resume compares.
        card: What `model.json` holds so far.
        events: TensorBoard's copy of the history.
        trackers: Those of train.log_to.
        state: How the training ended; "failed" until somebody says otherwise.
        cadence: When the next checkpoint is due.
    """

    run: Path
    recipe: Recipe
    class_names: tuple[str, ...]
    progress: Progress
    identity: Mapping[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    events: runs.Events = field(init=False)
    trackers: tuple[runs.Tracker, ...] = field(init=False)
    state: str = "failed"
    cadence: Cadence = field(init=False)
    # The best weights on their way into the two files of `runs.best`, in this order:
    _best: _Weights | None = None  # in no file yet
    _written: _Weights | None = None  # in best.safetensors, and in no checkpoint's card yet
    _known: _Weights | None = None  # in a card; not in checkpoints/best.safetensors yet
    _lines: list[Mapping[str, Any]] = field(default_factory=list)  # not yet in the history
    _saved: bool = False  # there is a checkpoint, which stands where the next one fails
    _failed: int = 0  # tries in a row
    _told_of_events: bool = False
    _told_of_trackers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.events = runs.Events(self.run / "events")
        about = runs.About(self.run, flat(self.recipe), self.identity)
        self.trackers = tuple(runs.Tracker(name, about) for name in self.recipe.train.log_to)
        wanted = self.recipe.checkpoint
        seconds = None if wanted.seconds == "auto" else wanted.seconds
        self.cadence = Cadence(wanted.steps, seconds)

    def epoch_done(self, model: keras.Model, row: Mapping[str, Any], *, best: bool) -> None:
        """Write the line of a finished epoch, and remember its weights if they are the best.

        Args:
            model: With the weights that were validated.
            row: The epoch's line of the history.
            best: Whether this epoch is better than all before.
        """
        # First, so that no weights are ever kept of an epoch that the history does not know.
        self._lines.append(row)
        try:
            self._write_lines()
        except OSError as error:
            told = f"the history of {self.run} cannot be written: {error.strerror or error}"
            self.progress.say(f"{told}. It is kept in memory and will be tried again.")
        self.events.add(row)
        if self.events.trouble and not self._told_of_events:
            self._told_of_events = True
            self.progress.say(f"no more TensorBoard events are written: {self.events.trouble}")
        for tracker in self.trackers:
            tracker.add(row)
        self._tell_of_trackers()
        if best or not self.card:  # without a finite value, the first epoch is all there is
            arrays = {name: np.array(array) for name, array in get_weights(model).items()}
            self._best = arrays, row["epoch"]
            self.card = self._card(runs.fingerprint(self.run, arrays))
            self.card |= {"best_epoch": row["epoch"], "best_value": row[self.recipe.train.best]}
        self.card["last_epoch"] = row["epoch"]

    def save(
        self, step: int, tensors: runs.Tensors, meta: Mapping[str, Any], *, last: bool = False
    ) -> None:
        """Write a checkpoint, and before it what it relies on.

        Where that fails, what was there stands, and it is tried again after a while.

        Args:
            step: Of the whole training.
            tensors: What `variables.read` returned.
            meta: Everything else.
            last: No other one will be due.

        Raises:
            RunError: It failed several times in a row, or was the last.
        """
        started = time.perf_counter()
        try:
            self._write(step, tensors, meta)
        except OSError as error:
            self._failed += 1
            told = f"no checkpoint could be written in {self.run}: {error.strerror or error}"
            if self._failed >= _TRIES or last:
                often = "" if last else f", {_TRIES} times in a row"
                raise RunError(f"{told}{often}. {self._what_to_do()}") from error
            stands = "The one before stands" if self._saved else "There is none before it"
            self.progress.say(f"{told}. {stands}; it will be tried again.")
            self.cadence.failed()
        else:
            self._failed, self._saved = 0, True
            self.cadence.saved(time.perf_counter() - started)

    def _what_to_do(self) -> str:
        again = f"sightline train --resume {self.run}"
        if self._saved:
            return f"Free some space or mend the disk; what was saved before stands. Go on: {again}"
        return (
            "Free some space or mend the disk; no checkpoint was saved before. Begin again from "
            f"the first step, in place of what there is: {again}"
        )

    def _write(self, step: int, tensors: runs.Tensors, meta: Mapping[str, Any]) -> None:
        self._keep_best()  # of the checkpoint before, where that failed
        self._write_best()
        about = {
            "format_version": runs.CHECKPOINT_VERSION,
            "step": step,
            "card": self.card,
            "identity": dict(self.identity),
        }
        runs.save_checkpoint(self.run, step, tensors, {**meta, **about})
        self._known, self._written = self._written, None
        try:
            self._keep_best()
        except OSError as error:  # the checkpoint is complete, and what it needs is in one file
            told = f"the copy of the best weights could not be written in {self.run}"
            self.progress.say(f"{told}: {error.strerror or error}. It will be tried again.")

    def _write_lines(self) -> None:
        while self._lines:
            runs.append_history(self.run / "history.jsonl", self._lines[0])
            del self._lines[0]

    def _write_best(self) -> None:
        self._write_lines()
        if self._best is not None:
            # Of a finished training that goes on: it would be of other weights than the best.
            runs.remove_file(self.run / _FOR_KERAS)
            runs.write_best(self.run, self._best[0], epoch=self._best[1])
            self._written, self._best = self._best, None
        if self.card:
            self._write_card()

    def _write_card(self) -> None:
        if lost := runs.write_card(self.run, self.card):
            self.progress.say(lost)

    def _keep_best(self) -> None:
        if self._known is not None:
            runs.keep_best(self.run, self._known[0], epoch=self._known[1])
            self._known = None

    def begin(self) -> None:
        """Drop what a start left that ended before its first checkpoint: it comes again.

        Raises:
            OSError: It could not be removed.
        """
        told = (self.run / "history.jsonl").exists()
        for name in ("model.json", "history.jsonl"):  # in this order: see `restore`
            runs.remove_file(self.run / name)
        if told:
            self._tell_events_from(0)

    def restore(self, meta: Mapping[str, Any], *, epochs: int) -> None:
        """Go back to a checkpoint: later lines of the history are dropped, and written again.

        Raises:
            RunError: The best weights, or the history, are not those that the checkpoint knows.
            OSError: What it needs could not be written.
        """
        self.card, self._saved = dict(meta["card"]), True
        # First, so that `model.json` never knows an epoch that the history does not.
        if self.card:
            best, damaged = runs.restore_best(self.run, epoch=self.card["best_epoch"])
            for line in damaged:
                self.progress.say(line)
            self.card["fingerprint"] = runs.fingerprint(self.run, best)  # the recipe is part of it
            self._write_card()
        else:
            runs.remove_file(self.run / "model.json")
        runs.cut_history(self.run / "history.jsonl", epochs)
        self._tell_events_from(epochs)

    def _tell_events_from(self, epoch: int) -> None:
        """Tell TensorBoard that what earlier files say of this epoch and later ones is over."""
        self.events.close()
        self.events = runs.Events(self.run / "events", from_epoch=epoch)

    def close(self) -> None:
        """Write what still waits, also after an error, and end the events."""
        try:
            self._keep_best()  # first: where it fails, the first file is all that has them
            self._write_best()
        except OSError as error:  # after an error that says so, or else it is missed at once
            told = f"the best weights could not be written in {self.run}"
            self.progress.say(f"{told}: {error.strerror or error}")
        finally:
            self.events.close()
            for tracker in self.trackers:
                tracker.close(self.state)
            self._tell_of_trackers()

    def _tell_of_trackers(self) -> None:
        """Say once of each tracker that it got into trouble; the training goes on without it."""
        for tracker in self.trackers:
            if tracker.trouble and tracker.name not in self._told_of_trackers:
                self._told_of_trackers.add(tracker.name)
                self.progress.say(f"nothing more is logged to {tracker.name}: {tracker.trouble}")

    def export_keras(self, model: keras.Model) -> None:
        """Write `model.keras`, for Keras users; `model` must have the best weights."""
        whole = with_own_scaling(model, self.recipe)
        runs.write_atomically(self.run / _FOR_KERAS, whole.save)

    def _card(self, fingerprint: str) -> dict[str, Any]:
        card = runs.model_card(self.recipe, self.class_names, fingerprint)
        return card | {"monitor": self.recipe.train.best}

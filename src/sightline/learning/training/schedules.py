"""The learning rate, and when to stop: small pieces with a state that can be saved.

A step is a batch, also where the weights change at every so many of them (train.accumulate).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.recipes import Recipe

LAID_OUT = ("cosine", "one-cycle")  # over all epochs
_CYCLE_BEGINS, _CYCLE_ENDS = 1 / 25, 1 / 250_000  # of the peak


def is_better_lower(column: str) -> bool:
    """Say which way a column of the history is better: losses lower, metrics higher."""
    return column.endswith(("loss", "objective"))


@dataclass(slots=True)
class Watch:
    """Follows one column and says whether a value is better than all before.

    "Better" is lower for a loss, higher for anything else, by more than `min_delta`; a NaN never
    is.

    Attributes:
        column: E.g. "val_loss".
        min_delta: The least change that counts.
        best: Best value so far.
        wait: Epochs since.
    """

    column: str
    min_delta: float = 0.0
    best: float | None = None
    wait: int = 0

    def better(self, value: float) -> bool:
        """Take note of this epoch's value."""
        sign = 1 if is_better_lower(self.column) else -1
        first = self.best is None and math.isfinite(value)
        if first or (self.best is not None and sign * (self.best - value) > self.min_delta):
            self.best, self.wait = value, 0
            return True
        self.wait += 1
        return False

    def to_dict(self) -> dict[str, Any]:
        """Return its state as plain JSON values."""
        return {"column": self.column, "best": self.best, "wait": self.wait}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take the state that `to_dict` returned; that of another column holds for nothing here."""
        if plain["column"] == self.column:
            self.best, self.wait = plain["best"], plain["wait"]


@dataclass(slots=True)
class LearningRate:
    """The learning rate of every step.

    Attributes:
        recipe: Its [train] and [schedule] decide.
        steps_per_epoch: Steps of one epoch.
        current: What the optimizer was last given; at first what it was compiled with.
        factor: What "plateau" has multiplied the rate by, so far.
    """

    recipe: Recipe
    steps_per_epoch: int
    plateau: Watch
    current: float
    factor: float = 1.0

    @classmethod
    def of(cls, recipe: Recipe, steps_per_epoch: int) -> LearningRate:
        """Return the schedule of a resolved recipe."""
        return cls(recipe, steps_per_epoch, Watch("val_loss"), recipe.train.learning_rate)

    def at(self, step: int) -> float:
        """Return the rate of a 0-based step of the whole training.

        A pure function of the step, but for "plateau", which goes by what the epochs came to.
        """
        base, schedule = self.recipe.train.learning_rate, self.recipe.schedule
        epoch = step // self.steps_per_epoch
        if schedule.kind == "exponential":
            return base * float(schedule.rate ** (epoch / schedule.epochs))
        if schedule.kind == "step":
            return base * float(schedule.factor ** (epoch // schedule.epochs))
        if schedule.kind in LAID_OUT:
            assert self.recipe.train.epochs != "auto", "the recipe is resolved before training"
            total = self.recipe.train.epochs * self.steps_per_epoch
            warm = max(1, round(schedule.warmup * total))
            return base * (_cosine if schedule.kind == "cosine" else _one_cycle)(step, warm, total)
        return base * self.factor

    def epoch_done(self, val_loss: float, *, share: float = 1.0) -> str:
        """Take note of an epoch; return a sentence when the rate was lowered.

        Args:
            val_loss: Of the epoch.
            share: What the rate of the next epoch is multiplied by.
        """
        schedule = self.recipe.schedule
        if schedule.kind != "plateau" or self.plateau.better(val_loss):
            return ""
        if self.plateau.wait < schedule.patience:
            return ""
        self.plateau.wait = 0
        self.factor *= schedule.factor
        epochs = f"{schedule.patience} epoch{'s' * (schedule.patience > 1)}"
        lowered = self.recipe.train.learning_rate * self.factor * share
        return f"no better val_loss for {epochs}: learning rate lowered to {lowered:g}"

    def to_dict(self) -> dict[str, Any]:
        """Return its state as plain JSON values."""
        return {
            "current": self.current,
            "factor": self.factor,
            "epochs": self.recipe.train.epochs,
            "plateau": self.plateau.to_dict(),
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take the state that `to_dict` returned."""
        self.current, self.factor = plain["current"], plain["factor"]
        self.plateau.restore(plain["plateau"])

    def laid_out_anew(self, plain: Mapping[str, Any]) -> str:
        """Return what to say of a curve that was laid out over another number of epochs.

        Args:
            plain: What `to_dict` returned when it was saved.
        """
        before, now, kind = plain["epochs"], self.recipe.train.epochs, self.recipe.schedule.kind
        if kind not in LAID_OUT or before == now:
            return ""
        return (
            f"The {kind} schedule is laid out over {now} epochs from here on, and was over "
            f"{before}: the learning rate changes to that of the new curve."
        )


def _cosine(step: int, warm: int, total: int) -> float:
    """Return the share of the peak: up in equal parts over `warm` steps, then half a cosine to 0.

    Both ends are reached: the peak at step `warm` - 1, 0 at the last of `total`.
    """
    if step < warm:
        return (step + 1) / warm
    return _half_cosine(1.0, 0.0, (step - warm) / max(1, total - 1 - warm))


def _one_cycle(step: int, warm: int, total: int) -> float:
    """Return the share of the peak: half a cosine up from 1/25, then half a one to 1/250,000.

    Both ends are reached: the peak at step `warm` - 1, the end at the last of `total`. The second
    part begins at the peak, so that no share is repeated.
    """
    peak = warm - 1
    if step < peak:
        return _half_cosine(_CYCLE_BEGINS, 1.0, step / peak)
    return _half_cosine(1.0, _CYCLE_ENDS, (step - peak) / max(1, total - 1 - peak))


def _half_cosine(begin: float, end: float, done: float) -> float:
    """Return what lies between two values, `done` 0..1 of the way along half a cosine."""
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * done))

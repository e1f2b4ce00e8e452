"""The learning rate, and when to stop: small pieces with a state that can be saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.recipes import Recipe


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
        sign = 1 if self.column.endswith("loss") else -1
        first = self.best is None and math.isfinite(value)
        if first or (self.best is not None and sign * (self.best - value) > self.min_delta):
            self.best, self.wait = value, 0
            return True
        self.wait += 1
        return False

    def to_dict(self) -> dict[str, Any]:
        """Return its state as plain JSON values."""
        return {"best": self.best, "wait": self.wait}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take the state that `to_dict` returned."""
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
        """Return the rate of a 0-based step of the whole training."""
        base, schedule = self.recipe.train.learning_rate, self.recipe.schedule
        if schedule.kind == "exponential":
            epoch = step // self.steps_per_epoch
            return base * float(schedule.rate ** (epoch / schedule.epochs))
        if schedule.kind == "cosine":
            assert self.recipe.train.epochs != "auto", "the recipe is resolved before training"
            total = self.recipe.train.epochs * self.steps_per_epoch
            warm = max(1, round(schedule.warmup * total))
            if step < warm:
                return base * (step + 1) / warm
            return base * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - 1 - warm)))
        return base * self.factor

    def epoch_done(self, val_loss: float) -> str:
        """Take note of an epoch; return a sentence when the rate was lowered."""
        schedule = self.recipe.schedule
        if schedule.kind != "plateau" or self.plateau.better(val_loss):
            return ""
        if self.plateau.wait < schedule.patience:
            return ""
        self.plateau.wait = 0
        self.factor *= schedule.factor
        return f"no better val_loss for {schedule.patience} epochs: learning rate lowered"

    def to_dict(self) -> dict[str, Any]:
        """Return its state as plain JSON values."""
        return {
            "current": self.current,
            "factor": self.factor,
            "plateau": self.plateau.to_dict(),
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take the state that `to_dict` returned."""
        self.current, self.factor = plain["current"], plain["factor"]
        self.plateau.restore(plain["plateau"])

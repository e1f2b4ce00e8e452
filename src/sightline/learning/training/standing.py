"""Where a training stands: everything beside the variables that decides how it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.judging import evaluation
from sightline.learning.training.clock import Clock
from sightline.learning.training.objective import bins
from sightline.learning.training.schedules import LearningRate, Watch
from sightline.recipes import Recipe

# What a step computes that goes back through all of a network, over one that only goes forward:
# going back takes twice as much. The most that it can be: data and validation stay as they are.
_THAWED = 3.0


@dataclass(slots=True)
class Tally:
    """Sums over the steps of one epoch.

    Attributes:
        confusion: (K, K) counts.
        ranks: (C, 2, bins) counts by probability, as `StepTally` explains; C is 0 where no area
            is asked for.
        entropy: Plain cross-entropy, summed over images.
        objective: What is optimised, summed over images.
        records: Records handed out.
        unread: Of those, files that could not be read.
        checksum: Of the rows of these records, which tells whether all came.
        waiting: Seconds for data.
        computing: Seconds of the steps.
    """

    confusion: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int64]
    entropy: float = 0.0
    objective: float = 0.0
    records: int = 0
    unread: int = 0
    checksum: int = 0
    waiting: float = 0.0
    computing: float = 0.0

    @classmethod
    def empty(cls, num_classes: int, *, areas: bool = False) -> Tally:
        """Return the tally of no steps, with counts by probability if areas are asked for."""
        ranked = len(evaluation.ranked(num_classes)) if areas else 0
        shape = (ranked, 2, bins(num_classes))
        return cls(np.zeros((num_classes, num_classes), np.int64), np.zeros(shape, np.int64))

    @property
    def images(self) -> int:
        """Images seen."""
        return int(self.confusion.sum())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {"confusion": self.confusion.tolist(), "ranks": self.ranks.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Tally:
        """Return what `to_dict` wrote."""
        counts = {name: np.asarray(plain[name], np.int64) for name in ("confusion", "ranks")}
        counts["ranks"] = counts["ranks"].reshape(-1, 2, bins(len(counts["confusion"])))
        return cls(**{**plain, **counts})


@dataclass(slots=True)
class Standing:
    """Where a training stands between two steps.

    Attributes:
        epoch: 0-based, the one in hand.
        batch: The next batch of it; with none left, it is to be validated.
        tally: Of its steps so far.
        rate: The learning rate's own state.
        best: What is better than all before.
        stop: What early stopping follows.
        planned: Epochs that the training began with; images that grow are laid out over them.
        sizes: Of the training images, as shares of their side, from part to part of the epochs.
        frozen: Epochs at the beginning in which only the head learns.
        seconds: Of the epoch in hand that earlier processes took.
        clock: What the finished ones took.
    """

    rate: LearningRate
    best: Watch
    stop: Watch
    tally: Tally
    planned: int
    sizes: tuple[float, ...] = (1.0,)
    frozen: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def of(cls, recipe: Recipe, steps: int, num_classes: int) -> Standing:
        """Return that of a training that has not begun.

        Args:
            recipe: Resolved.
            steps: Of one epoch.
            num_classes: K.
        """
        return cls(
            LearningRate.of(recipe, steps),
            Watch(recipe.train.best),
            Watch(recipe.stop.monitor, recipe.stop.min_delta),
            Tally.empty(num_classes, areas="auc" in recipe.train.metrics),
            planned=int(recipe.train.epochs),
            sizes=tuple(recipe.data.grow) or (1.0,),
            frozen=recipe.model.frozen_epochs,
        )

    def epoch_done(self, seconds: float) -> None:
        """Go on to the next epoch; the one in hand took so many seconds, in all processes."""
        grown = self.epoch > 0 and self._growth() != 1
        self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
        self.tally = Tally.empty(len(self.tally.confusion), areas=len(self.tally.ranks) > 0)
        self.clock.epoch_done(seconds, grown=grown)

    def part(self, epoch: int | None = None) -> int:
        """Return in which part of the epochs one is, one part a size; None: the one in hand.

        They are equal parts of the planned epochs: any more belong to the last. Where there are
        fewer epochs than parts, the first parts are left out.
        """
        parts = len(self.sizes)
        epoch = self.epoch if epoch is None else epoch
        begun = max(epoch * parts // self.planned, parts - self.planned + epoch)
        return min(begun, parts - 1)

    def is_whole(self, epoch: int | None = None) -> bool:
        """Say whether an epoch is in the last part, where images have grown to their size."""
        return self.part(epoch) == len(self.sizes) - 1

    def is_to_thaw(self, epoch: int | None = None) -> bool:
        """Say whether only the head learns in an epoch, and all of the network in a later one."""
        epoch = self.epoch if epoch is None else epoch
        return epoch < self.frozen < int(self.rate.recipe.train.epochs)

    def counts(self) -> bool:
        """Say whether early stopping, and a rate that goes by a plateau, heed the epoch in hand.

        With small images, and before the network thaws, the figures may well rest for a while.
        """
        return self.is_whole() and not self.is_to_thaw()

    def is_late(self, minutes: float) -> bool:
        """Say whether another epoch would end later than `minutes` after the start; 0 = never.

        One that has begun is not broken off, and the first may always begin.
        """
        if not minutes or self.batch or not self.epoch:
            return False
        return self.clock.spent + self.clock.expected(self._growth()) > 60 * minutes

    def _growth(self) -> float:
        """Return what the steps of the epoch in hand compute, over those of the one before."""
        grown = self._pixels(self.epoch) / self._pixels(self.epoch - 1)
        return grown * (_THAWED if self.epoch == self.frozen else 1)

    def _pixels(self, epoch: int) -> float:
        """Return the size of an epoch's images, as a share of their area."""
        return self.sizes[self.part(epoch)] ** 2

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values; floats come back to the last bit."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.seconds,
            "clock": self.clock.to_dict(),
            "planned": self.planned,
            "tally": self.tally.to_dict(),
            "rate": self.rate.to_dict(),
            "best": self.best.to_dict(),
            "stop": self.stop.to_dict(),
        }

    def restore(self, plain: Mapping[str, Any]) -> list[str]:
        """Become what `to_dict` wrote of a training of the same recipe.

        Returns what is to be said of what may have changed in it since.
        """
        self.epoch, self.batch = int(plain["epoch"]), int(plain["batch"])
        self.seconds = float(plain["seconds"])
        self.clock.restore(plain["clock"])
        self.planned = int(plain["planned"])
        self.tally = Tally.from_dict(plain["tally"])
        self.rate.restore(plain["rate"])
        self.best.restore(plain["best"])
        self.stop.restore(plain["stop"])
        if self.epoch <= self.frozen < int(self.rate.recipe.train.epochs):
            # There were to be no more epochs, or all frozen: what the head reached alone was
            # counted, and is no measure for the whole network.
            for watch in (self.stop, self.rate.plateau):
                watch.best, watch.wait = None, 0
        told = [self.rate.laid_out_anew(plain["rate"])]
        before, now = plain["stop"]["column"], self.stop.column
        if before != now:
            told.append(
                f"stop.monitor is {now} from here on, and was {before}: early stopping begins anew."
            )
        return [line for line in told if line]

"""What is known of a training: the columns of its epochs, and what stands around them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from sightline.recipes import Recipe
from sightline.records import Evaluation, Finding, ModelSummary

Floats = npt.NDArray[np.float64]
Ended = Literal[
    "all epochs", "stopped early", "no number", "cut off", "still training", "not known"
]

_LEAST_LOSS = 1e-12
_LEAKS = ("copies-across-splits", "near-copies-across-splits", "groups-across-splits")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """All that a rule may look at; what is None, or empty, is not known.

    Attributes:
        columns: By the names that Keras uses ("loss", "val_loss", "accuracy", "learning_rate",
            "seconds_waiting" ...), (E,) float64, an epoch each; NaN where an epoch has no value.
        num_train: Training images.
        num_validation: Validation images.
        num_test: Test images.
        class_counts: Training images of each class.
        validation_counts: Validation images of each class.
        batch_size: Images a step.
        best_epoch: 0-based, of the weights that are kept.
        monitor: The column that early stopping watches.
        patience: Of early stopping, epochs; 0 for none.
        min_delta: A change smaller than this is not better.
        ended: Why there are no more epochs; "no number" is NaN or infinity.
        recipe: As used.
        summary: The network, layer by layer.
        evaluations: Of held-out sets.
        findings: Of the audit before training.
    """

    columns: Mapping[str, Floats]
    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None
    class_counts: Mapping[str, int] = field(default_factory=dict)
    validation_counts: Mapping[str, int] = field(default_factory=dict)
    batch_size: int | None = None
    best_epoch: int | None = None
    monitor: str = "val_loss"
    patience: int | None = None
    min_delta: float = 0.0
    ended: Ended = "not known"
    recipe: Recipe | None = None
    summary: ModelSummary | None = None
    evaluations: tuple[Evaluation, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if len({len(values) for values in self.columns.values()}) > 1:
            raise ValueError(
                "all columns must have as many epochs, got "
                f"{ {name: len(values) for name, values in self.columns.items()} }"
            )

    @property
    def epochs(self) -> int:
        """How many there are."""
        return max((len(values) for values in self.columns.values()), default=0)

    def __getitem__(self, column: str) -> Floats:
        return self.columns[column]

    def lacks(self, *columns: str, epochs: int = 1) -> str:
        """Return why a rule that needs these columns does not apply; "" where it does.

        A column is there when it has a number in two thirds of the epochs; `epochs` is the
        fewest that the rule can say something of.
        """
        for column in columns:
            values = self.columns.get(column)
            if values is None or not np.isfinite(values).any():
                return f"There is no {column}."
            if np.isfinite(values).sum() < 2 * len(values) / 3:
                return f"There is no {column} in most epochs."
        if self.epochs < epochs:
            return f"There are {self.epochs} epochs, and at least {epochs} are needed."
        return ""

    def filled(self, column: str) -> Floats:
        """Return a column with the epochs that have no number filled in from their neighbours.

        A loss is never quite 0, so that shares of it can be taken.
        """
        values = self.columns[column]
        known = np.isfinite(values)
        every = np.arange(len(values))
        filled = np.interp(every, every[known], values[known])
        return np.maximum(filled, _LEAST_LOSS) if column in ("loss", "val_loss") else filled

    @property
    def shares(self) -> Floats:
        """The shares of the classes among the training images, largest first; empty: not known."""
        counts = np.array(sorted(self.class_counts.values(), reverse=True), np.float64)
        return counts / counts.sum() if counts.sum() else np.zeros(0)

    @property
    def chance(self) -> float | None:
        """The cross-entropy of answering with the shares of the classes, in nats."""
        shares = self.shares[self.shares > 0]
        return float(-(shares * np.log(shares)).sum()) if len(shares) > 1 else None

    @property
    def majority(self) -> float | None:
        """The share of the most frequent class of validation, or of training, 0..1."""
        counts = list((self.validation_counts or self.class_counts).values())
        total = sum(counts)
        return max(counts) / total if len(counts) > 1 and total else None

    @property
    def is_balanced(self) -> bool:
        """Whether rare classes were made to count more: by weights, or by sampling."""
        balance = self.recipe.balance if self.recipe else None
        return balance is not None and (
            balance.class_weights != "none" or balance.sampling != "all"
        )

    @property
    def leaks(self) -> tuple[str, ...]:
        """The codes of audit findings that tie the sides of the split together."""
        return tuple(f.code for f in self.findings if f.stands and f.code in _LEAKS)

    def sampling_noise(self, split: Literal["train", "validation"]) -> Floats | None:
        """Return an upper bound of what chance alone adds to the loss of each epoch, (E,).

        The loss of an epoch is a mean over n images, whose own losses differ: its standard error
        is their deviation / sqrt(n). That deviation is not in the curve. With mean loss m and a
        share e of images that are wrong it is at most about m / sqrt(e), as if all of the loss
        were on those that are wrong; without the accuracy it is taken as m + sqrt(m). Of 216
        simulated classifiers (2 to 10 classes, under- and overconfident), 91 % and 89 % have a
        smaller one; none of the others exceeds it by more than 1.2 and 1.7.

        Between epochs the images stay the same, so what chance changes is less than that: a curve
        that moves by more moves for another reason.

        Returns:
            None where the number of images is not known.
        """
        before = "val_" if split == "validation" else ""
        count = self.num_validation if split == "validation" else self.num_train
        if not count or self.lacks(f"{before}loss"):
            return None
        loss = np.abs(self.filled(f"{before}loss"))
        if self.lacks(f"{before}accuracy"):
            return (loss + np.sqrt(loss)) / math.sqrt(count)
        # One wrong image in twice as many is the fewest that a share of none stands for.
        wrong = np.clip(1 - self.filled(f"{before}accuracy"), 0.5 / count, 1.0)
        return loss / np.sqrt(wrong * count)

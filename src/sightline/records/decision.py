"""How probabilities become one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

DecisionKind = Literal["most probable", "threshold", "costs"]


@dataclass(frozen=True, slots=True)
class Decision:
    """A rule that turns the probabilities of a record into one class.

    "most probable": the class of the largest probability, the first of equals. "threshold":
    `class_index` where its probability is at least `threshold`, else the most probable of the
    others. "costs": the class whose expected cost is smallest, the first of equals; the
    probabilities are calibrated by `temperature` first, because costs are weighed by them.

    Attributes:
        kind: Which of the three.
        class_index: The class that a threshold is about.
        threshold: A probability, 0..1, before any temperature.
        costs: (K, K) nested: what it costs to call a record of the row's class the column's.
        temperature: What the logits are divided by before costs are weighed; over 0.
        rule: How it was chosen, as `--threshold` takes it, e.g. "sensitivity=0.95"; "" by none.
        chosen_on: What it was chosen on, in words: split, count, weights and epoch.
        model_fingerprint: Of the weights that it was chosen for. Decisions that differ in it alone
            are equal: weights have as many fingerprints as their run has had recipes.
    """

    kind: DecisionKind = "most probable"
    class_index: int = 1
    threshold: float = 0.5
    costs: tuple[tuple[float, ...], ...] = ()
    temperature: float = 1.0
    rule: str = ""
    chosen_on: str = ""
    model_fingerprint: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in 0..1, got {self.threshold}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be over 0, got {self.temperature}")
        if any(len(row) != len(self.costs) for row in self.costs):
            lengths = [len(row) for row in self.costs]
            raise ValueError(f"costs must be as wide as high, got rows of {lengths}")

    def choose(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return (N,) class indices.

        Args:
            probabilities: (N, K), rows summing to 1.

        Raises:
            ValueError: The rule is about another number of classes.
        """
        classes = probabilities.shape[1]
        if self.kind == "costs":
            if len(self.costs) != classes:
                raise ValueError(f"costs are of {len(self.costs)} classes, got {classes}")
            expected = tempered(probabilities, self.temperature) @ np.asarray(self.costs)
            return np.asarray(expected.argmin(axis=1), np.int64)
        if self.kind == "most probable":
            return np.asarray(probabilities.argmax(axis=1), np.int64)
        if not 0 <= self.class_index < classes:
            raise ValueError(f"class_index must be in 0..{classes - 1}, got {self.class_index}")
        others = probabilities.copy()
        others[:, self.class_index] = -1.0
        reached = probabilities[:, self.class_index] >= np.float32(self.threshold)
        return np.where(reached, self.class_index, others.argmax(axis=1)).astype(np.int64)

    def in_words(self, class_names: Sequence[str]) -> str:
        """Return how a class is chosen, e.g. "malignant from a probability of 0.31 on"."""
        if self.kind == "threshold":
            return f"{class_names[self.class_index]} from a probability of {self.threshold:.4g} on"
        return "the least expected cost" if self.kind == "costs" else "the most probable class"

    def sentence(self, class_names: Sequence[str]) -> str:
        """Return how a class is chosen, what was asked for, and what it was chosen on."""
        asked = f" (asked: {self.rule})" if self.rule else ""
        chosen = f", chosen on {self.chosen_on}" if self.chosen_on else ""
        if self.kind == "most probable":
            return "An image is put into its most probable class."
        if self.kind == "costs":
            return f"An image is put into the class of the least expected cost{asked}{chosen}."
        return (
            f"An image is called {self.in_words(class_names)}{asked}{chosen}; below that, the most "
            "probable of the other classes."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as plain JSON values."""
        return asdict(self) | {"costs": [list(row) for row in self.costs]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Decision:
        """Return the decision that `to_dict` wrote."""
        return cls(**{**plain, "costs": tuple(tuple(row) for row in plain["costs"])})


MOST_PROBABLE = Decision()


def tempered(
    probabilities: npt.NDArray[np.floating], temperature: float
) -> npt.NDArray[np.float64]:
    """Return (N, K) float64 the probabilities whose logits are divided by a temperature.

    softmax(log(p) / T), which for two classes is the sigmoid of the logit over T (Guo et al., On
    Calibration of Modern Neural Networks, 2017). A probability below 1e-12 counts as that.

    Args:
        probabilities: (N, K), rows summing to 1.
        temperature: Over 0; above 1 makes every class more alike.
    """
    logits = np.log(np.clip(probabilities.astype(np.float64), 1e-12, 1.0)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))

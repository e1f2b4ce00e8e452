"""Sets of classes that hold the true one as often as was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.records.interval import Interval, intervals_of


@dataclass(frozen=True, slots=True)
class SetRule:
    """Which classes of a record cannot be ruled out: those of at least a probability.

    Attributes:
        coverage: How often the set is to hold the true class, over 0 and under 1.
        least: (K,) the smallest probability of each class that puts it into a set; 0 where there
            were too few records to tell, so that the class is in every set.
        count: Records that it was fitted on.
        chosen_on: What these were, in words: split, count, weights and epoch.
        model_fingerprint: Of the weights that it was fitted for.
        note: Why every class is in every set; "" where it is not.
    """

    coverage: float
    least: tuple[float, ...]
    count: int
    chosen_on: str = ""
    model_fingerprint: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1:
            raise ValueError(f"coverage must be over 0 and under 1, got {self.coverage}")
        wrong = [least for least in self.least if not 0 <= least <= 1]
        if wrong or not self.least:
            raise ValueError(f"least must hold a probability a class, got {self.least}")

    def sets(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Return (N, K) whether each class is in the set of each record; a set may be empty.

        Args:
            probabilities: (N, K), rows summing to 1.

        Raises:
            ValueError: The rule is about another number of classes.
        """
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.least):
            raise ValueError(
                f"probabilities must be (N, {len(self.least)}), got {probabilities.shape}"
            )
        return np.asarray(probabilities >= np.asarray(self.least, np.float32))

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as plain JSON values."""
        return asdict(self) | {"least": list(self.least)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SetRule:
        """Return the rule that `to_dict` wrote."""
        kept = {name: plain[name] for name in plain if name != "by_class"}  # of older runs
        return cls(**{**kept, "least": tuple(plain["least"])})


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """How the sets of a rule did on records whose class is known.

    Attributes:
        rule: Which classes of a record were kept.
        count: Records judged.
        reached: Share of the records whose set holds their class.
        classes: The same of the records of each class, by name; a class without one is left out.
        mean_size: Classes in a set, on average.
        sizes: (K + 1,) how many records have a set of 0, 1, ... K classes; those of 0 are empty.
    """

    rule: SetRule
    count: int
    reached: Interval
    classes: Mapping[str, Interval]
    mean_size: Interval
    sizes: tuple[int, ...]

    @property
    def empty(self) -> int:
        """How many sets hold no class at all: the record is unlike those of any class."""
        return self.sizes[0]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self) | {"rule": self.rule.to_dict(), "sizes": list(self.sizes)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PredictionSets:
        """Return what `to_dict` wrote."""
        return cls(
            **{
                **plain,
                "rule": SetRule.from_dict(plain["rule"]),
                "reached": Interval(**plain["reached"]),
                "classes": intervals_of(plain["classes"]),
                "mean_size": Interval(**plain["mean_size"]),
                "sizes": tuple(plain["sizes"]),
            }
        )

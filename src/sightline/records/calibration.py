"""Whether a probability of 0.8 is right 8 times of 10."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sightline.records.interval import Interval, intervals_of


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The records whose confidence lies between two bounds.

    Attributes:
        low: The confidence that it begins above; the first bin holds its own.
        high: The confidence that it ends with.
        count: Records in it, 1 or more.
        confidence: Their mean confidence, 0..1.
        share: How many of them were what they were said to be, 0..1, with Wilson's 95 % interval,
            which takes records as independent.
    """

    low: float
    high: float
    count: int
    confidence: float
    share: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return the bin as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ReliabilityBin:
        """Return the bin that `to_dict` wrote."""
        return cls(**{**plain, "share": Interval(**plain["share"])})


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities can be believed, as they are and after temperature scaling.

    Attributes:
        temperature: What the logits are divided by; 1 where the data could not tell one.
        fitted_on: What it was fitted on, in words: split, count, weights and epoch.
        count: Records judged.
        before: log_loss, brier and calibration_error of the judged records, as predicted.
        after: The same of the tempered probabilities.
        note: Why the temperature is 1 or at the edge of its range; "" when it is not.
    """

    temperature: float
    fitted_on: str
    count: int
    before: Mapping[str, Interval]
    after: Mapping[str, Interval]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_dict` wrote."""
        before, after = (intervals_of(plain[part]) for part in ("before", "after"))
        return cls(**{**plain, "before": before, "after": after})

"""How good predictions are on a part of the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sightline.records.interval import Interval, intervals_of


@dataclass(frozen=True, slots=True)
class Slice:
    """The records of one value of a metadata column.

    Attributes:
        column: E.g. "age".
        value: E.g. "34 to 51", "(other)" for rare values together, "(unknown)" for none; a text of
            the column that reads like one of these is in quotes.
        count: Records of it.
        groups: Whole groups of it that were resampled; 0 where images were.
        metrics: accuracy; of two classes recall and specificity (of the second), of several
            balanced_accuracy; roc_auc. Those that are defined, with 95 % intervals.
        difference: Its accuracy less that of all other records, class by class (so that a slice of
            hard classes is not blamed for them); None where no class is on both sides.
        p_value: That there is no such difference; None where there are too few records to test.
        corrected: Holm's correction of it for all slices that were tested.
        differs: Whether the difference stands after the correction.
        no_value: Whether it is not of one value: "(other)" and "(unknown)".
    """

    column: str
    value: str
    count: int
    groups: int
    metrics: Mapping[str, Interval]
    difference: Interval | None = None
    p_value: float | None = None
    corrected: float | None = None
    differs: bool = False
    no_value: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the slice as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Slice:
        """Return the slice that `to_dict` wrote."""
        gap = plain["difference"]
        return cls(
            **{
                **plain,
                "metrics": intervals_of(plain["metrics"]),
                "difference": None if gap is None else Interval(**gap),
            }
        )

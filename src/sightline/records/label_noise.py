"""Labels that may be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.records.mistake import Mistake


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """Records whose label is doubtful, and how many labels may be wrong in all.

    Attributes:
        class_names: The K classes.
        count: Records looked at.
        candidates: The doubtful labels, the most doubtful first: `predicted` is the class that
            the record is likelier to be of, `margin` (-1..1) how far the label's probability is
            above that of the likeliest other class.
        wrong: (K, K) nested: how many records with the row's label are estimated to be of the
            column's class; 0 on the diagonal. May be less or more than there are candidates.
        too_few: Classes of so few records that what is said of their labels is a guess.
    """

    class_names: tuple[str, ...]
    count: int
    candidates: tuple[Mistake, ...]
    wrong: tuple[tuple[float, ...], ...]
    too_few: tuple[str, ...] = ()

    @property
    def estimated(self) -> float:
        """How many labels are estimated to be wrong in all."""
        return sum(map(sum, self.wrong))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "class_names": list(self.class_names),
            "count": self.count,
            "candidates": [each.to_dict() for each in self.candidates],
            "wrong": [list(row) for row in self.wrong],
            "too_few": list(self.too_few),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> LabelNoise:
        """Return what `to_dict` wrote."""
        return cls(
            tuple(plain["class_names"]),
            plain["count"],
            tuple(map(Mistake.from_dict, plain["candidates"])),
            tuple(map(tuple, plain["wrong"])),
            tuple(plain["too_few"]),
        )

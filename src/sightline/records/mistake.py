"""One record, what it is and what it was taken for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mistake:
    """A record beside the class that it was given, which as a rule is the wrong one.

    Attributes:
        record_id: Which record.
        label: Its true class.
        predicted: The class the model gave it.
        probability: What the model gave the predicted class, 0..1.
        label_probability: What the model gave the true class, 0..1.
        margin: How far the model was from another answer, 0..1; in a list of doubtful labels how
            far the label is from being the most probable class, -1..1.
    """

    record_id: str
    label: str
    predicted: str
    probability: float
    label_probability: float
    margin: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Mistake:
        """Return the row that `to_dict` wrote."""
        return cls(**plain)

"""One thing worth telling the user about their data or run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]

_OF_EPOCHS = ("jumps", "loss", "val_loss")  # evidence that, as a list, is of 0-based epochs


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, with the evidence for it.

    Attributes:
        code: Stable name of the check, e.g. "small-splits".
        severity: How bad it is when found.
        title: One sentence with the numbers in it.
        evidence: Numbers and every record id concerned, ready for JSON.
        advice: What to do, in one or two sentences.
        outcome: "found", "passed" or "not applicable" (three different things).
        recipe_change: A line for the recipe that answers the finding, as `--set` takes it, e.g.
            "balance.class_weights=balanced"; "" where there is none.
        epoch: 0-based epoch to mark on the curves, where the finding has one.
        muted: The user has said in the recipe that this code does not count.
    """

    code: str
    severity: Severity
    title: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    outcome: Literal["found", "passed", "not applicable"] = "found"
    recipe_change: str = ""
    muted: bool = False
    epoch: int | None = None

    @property
    def stands(self) -> bool:
        """Whether it was found and not muted."""
        return self.outcome == "found" and not self.muted

    @property
    def shown_evidence(self) -> dict[str, Any]:
        """The evidence as people read it: epochs counted from 1, as in the title."""
        return {name: _from_one(name, value) for name, value in self.evidence.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["evidence"] = dict(self.evidence)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Finding:
        """Return the finding that `to_dict` wrote."""
        return cls(**plain)


def _from_one(name: str, value: Any) -> Any:
    """Return a piece of evidence; an epoch counted from 1, a number of epochs as it is."""
    if name.endswith("epoch") and isinstance(value, int):
        return value + 1
    if name in _OF_EPOCHS and isinstance(value, list):
        return [epoch + 1 for epoch in value]
    return value

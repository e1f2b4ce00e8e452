"""What a threshold comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sightline.records.decision import Decision
from sightline.records.interval import Interval


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One threshold of one class against the rest, and what it comes to on some records.

    Attributes:
        rule: How the threshold was chosen, e.g. "sensitivity=0.95".
        class_name: The class it is about.
        threshold: From this probability on a record is called that class; None where no threshold
            does what the rule asks, and then every figure is None.
        sensitivity: Share of the class that is called so; None without a record of it.
        specificity: Share of the rest that is not; None without a record of the rest.
        precision: Share of what is called so that is of the class; None where nothing is.
        f1: The harmonic mean of precision and sensitivity; None where neither is defined.
        note: What is to be known about the threshold; "" for nothing.
    """

    rule: str
    class_name: str
    threshold: float | None
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    precision: Interval | None = None
    f1: Interval | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> OperatingPoint:
        """Return the point that `to_dict` wrote."""
        figures = {
            name: None if plain[name] is None else Interval(**plain[name])
            for name in ("sensitivity", "specificity", "precision", "f1")
        }
        return cls(**{**plain, **figures})


@dataclass(frozen=True, slots=True)
class ChosenDecision:
    """A decision, and what it came to on the records that it was chosen on.

    Attributes:
        decision: The rule for new records.
        reached: What its threshold came to; None for costs and for "argmax".
        mean_cost: What a record cost under the decision; None unless it is about costs.
        mean_cost_of_most_probable: What it would have cost to take the most probable class.
        warnings: What its owner must know before relying on it, a sentence each.
    """

    decision: Decision
    reached: OperatingPoint | None = None
    mean_cost: float | None = None
    mean_cost_of_most_probable: float | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "decision": self.decision.to_dict(),
            "reached": self.reached.to_dict() if self.reached else None,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ChosenDecision:
        """Return what `to_dict` wrote."""
        reached = plain["reached"]
        return cls(
            **{
                **plain,
                "decision": Decision.from_dict(plain["decision"]),
                "reached": OperatingPoint.from_dict(reached) if reached else None,
                "warnings": tuple(plain["warnings"]),
            }
        )

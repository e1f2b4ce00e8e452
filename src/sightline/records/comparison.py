"""Whether one model is better than another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sightline.records.interval import Interval, intervals_of

HEADLINE = "accuracy"  # the one figure that decides; the others are looked at beside it
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the records that both judged.

    Attributes:
        names: What the two are called.
        count: Records that both judged.
        only_first: Records that only the first judged; they are left out.
        only_second: Records that only the second judged; they are left out.
        groups: How many whole groups were resampled for the intervals; 0 where images were.
        values: Metric to the figures of the first and the second; only metrics defined for both.
        differences: Metric to the second's figure less the first's, with its paired interval.
        first_alone_right: Records that the first got right and the second wrong.
        second_alone_right: The other way round.
        mcnemar: The exact two-sided p-value of these two counts; takes images as independent.
        p_value: Of the difference in accuracy: `mcnemar` without groups, else of the resamples.
        corrected: Holm's correction of it for the pairs that were looked at together.
        pairs: How many these are.
    """

    names: tuple[str, str]
    count: int
    only_first: int
    only_second: int
    groups: int
    values: Mapping[str, tuple[float, float]]
    differences: Mapping[str, Interval]
    first_alone_right: int
    second_alone_right: int
    mcnemar: float
    p_value: float
    corrected: float
    pairs: int = 1

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics whose interval leaves out 0."""
        return tuple(name for name, each in self.differences.items() if _leaves_out_zero(each))

    @property
    def better(self) -> str:
        """The name of the model that is shown to be more accurate; "" where none is."""
        if HEADLINE not in self.shown or self.corrected >= _LEVEL:
            return ""
        return self.names[int(self.differences[HEADLINE].value > 0)]

    def words(self) -> str:
        """Return what the comparison shows, in a sentence; differences are second less first."""
        told, others = self._told(HEADLINE), [self._told(n) for n in self.shown if n != HEADLINE]
        if HEADLINE in self.shown and not self.better:
            told += f", p {self.corrected:.2g}"
            told += f" corrected for {self.pairs} pairs" if self.pairs > 1 else ""
        if self.better:
            found = f"{self.better} is better: {told}"
        elif others:
            found = f"no difference in accuracy that this test set can show: {told}"
        else:
            found = f"no difference that this test set can show: {told}"
        beside = f"; of {len(self.differences) - 1} other figures: {', '.join(others)}"
        return f"{self.names[1]} against {self.names[0]}: {found}{beside if others else ''}"

    def _told(self, name: str) -> str:
        """Return e.g. "accuracy +3.1 points (95 % interval +1.2 to +5.0)"."""
        each, points = self.differences[name], name != "log_loss"
        value, *edges = (
            "" if edge is None else _signed(100 * edge, 1) if points else _signed(edge, 3)
            for edge in (each.value, each.low, each.high)
        )
        sure = f"95 % interval {edges[0]} to {edges[1]}" if edges[0] else each.note
        return f"{name.replace('_', ' ')} {value}{' points' * points} ({sure})"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        values = {name: list(pair) for name, pair in self.values.items()}
        return asdict(self) | {"names": list(self.names), "values": values}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Comparison:
        """Return the comparison that `to_dict` wrote."""
        return cls(
            **{
                **plain,
                "names": tuple(plain["names"]),
                "values": {name: tuple(pair) for name, pair in plain["values"].items()},
                "differences": intervals_of(plain["differences"]),
            }
        )


def _leaves_out_zero(difference: Interval) -> bool:
    if difference.low is None or difference.high is None:
        return False
    return difference.low > 0 or difference.high < 0


def _signed(value: float, decimals: int) -> str:
    """Return a number with its sign; never a zero that only rounding made."""
    small = 0 < abs(value) < 0.5 * 10.0**-decimals
    return f"{value:+.1g}" if small else f"{value + 0.0:+.{decimals}f}"

"""A figure and how sure it is, and figures as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and how sure it is.

    Attributes:
        value: Of the records themselves.
        low: Where its 95 % interval begins; None where there are too few records to say.
        high: Where it ends; None with `low`.
        note: Why there is no interval, as "too few to say: 12 images, 30 are needed".
    """

    value: float
    low: float | None
    high: float | None
    note: str = ""


def intervals_of(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Interval]:
    """Return the intervals that `dataclasses.asdict` made plain, by metric."""
    return {name: Interval(**values) for name, values in plain.items()}


def edges_of(interval: Interval, decimals: int = 4) -> str:
    """Return e.g. "0.5780 to 0.6470", or "too few to say"."""
    if interval.low is None:
        return "too few to say"
    return f"{rounded(interval.low, decimals)} to {rounded(interval.high, decimals)}"


def rounded(value: float | None, decimals: int = 4, *, percent: bool = False) -> str:
    """Return a figure as text; never a perfect 1 or 0 that only rounding made.

    Args:
        value: None, NaN and infinity give a dash.
        decimals: After the point, of the percentage where it is one.
        percent: Show 0..1 as 0%..100%.
    """
    if value is None or not math.isfinite(value):
        return "–"
    whole, sign = (100.0, "%") if percent else (1.0, "")
    text, least = f"{whole * value:.{decimals}f}", 10.0**-decimals
    if 0 < value < 1 and text == f"{whole:.{decimals}f}":
        return f"> {whole - least:.{decimals}f}{sign}"
    if 0 < value < 1 and text == f"{0:.{decimals}f}":
        return f"< {least:.{decimals}f}{sign}"
    return text + sign

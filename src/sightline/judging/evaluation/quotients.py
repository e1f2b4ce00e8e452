"""Figures that are one sum over the records divided by another, each with its interval."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import quotient
from sightline.judging.evaluation.resampling import (
    ENOUGH_GROUPS,
    ENOUGH_RECORDS,
    Resampling,
    interval,
    jackknife,
    wilson,
)
from sightline.records import Interval

Floats = npt.NDArray[np.float64]


def quotients(
    sample: Resampling, above: Floats, below: Floats, *, highest: float = 1.0
) -> list[Interval | None]:
    """Return the quotient of the sums of each column; None where there is nothing to divide by.

    A sensitivity is the sum of "of the class and called so" over the sum of "of the class". There
    is no interval where fewer than 30 records, or 10 groups, have a part in the lower sum; it is
    Wilson's where independent records are counted.

    Args:
        sample: Of the N records.
        above: (N, F), 0 or more.
        below: (N, F), 0 or more.
        highest: The largest that a quotient can be; the least is 0.
    """
    values = divided(np.ones((1, len(above))), above, below)[0].tolist()
    found: dict[int, Interval | None] = {}
    for column, value in enumerate(values):
        concerned = below[:, column] > 0
        if not concerned.any():
            found[column] = None
        elif note := too_few(sample, concerned):
            found[column] = Interval(value, None, None, note)
        elif _is_proportion(sample, above[:, column], below[:, column]):
            found[column] = Interval(value, *wilson(value, int(concerned.sum())))
    rest = [column for column in range(len(values)) if column not in found]
    if rest:  # resampling is what takes long
        drawn, errors, doubts = _spread(sample, above[:, rest], below[:, rest])
    for place, column in enumerate(rest):
        found[column] = interval(
            values[column],
            drawn[:, place],
            units=units_among(sample, below[:, column] > 0),
            bounds=(0.0, highest),
            error=float(errors[place]),
            doubt=float(doubts[place]),
        )
    return [found[column] for column in range(len(values))]


def divided(weights: Floats, above: Floats, below: Floats) -> Floats:
    """Return (B, F) quotients of (B, N) weighted sums, NaN where there is nothing to divide by."""
    return quotient(weights @ above, weights @ below)


def too_few(sample: Resampling, concerned: npt.NDArray[np.bool_]) -> str:
    """Return why (N,) some of the records are too few for an interval, "" where they suffice."""
    records, groups = int(concerned.sum()), units_among(sample, concerned)
    if records < ENOUGH_RECORDS:
        return f"too few to say: {records} images, {ENOUGH_RECORDS} are needed"
    if sample.grouped and groups < ENOUGH_GROUPS:
        return f"too few to say: {groups} groups, {ENOUGH_GROUPS} are needed"
    return ""


def units_among(sample: Resampling, concerned: npt.NDArray[np.bool_]) -> int:
    """Return how many records, or whole groups, some of the records are."""
    return len(np.unique(sample.units[concerned]))


def _spread(sample: Resampling, above: Floats, below: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (R, F) the quotients of every resample, and the two of `jackknife`."""

    def figures(weights: Floats) -> Floats:
        return divided(weights, above, below)

    return sample.drawn(figures), *jackknife(sample, sample.left_out(figures))


def _is_proportion(sample: Resampling, above: Floats, below: Floats) -> bool:
    """Return whether a quotient is how many of some independent records are of a kind."""
    whole = (below == 0) | (below == 1)
    return not sample.grouped and bool((whole & ((above == 0) | (above == below))).all())

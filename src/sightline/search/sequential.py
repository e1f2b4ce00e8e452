"""Whether a change helps, from one paired difference after the other.

A pair is two trainings that share seed and fold and differ in one change; its difference is what
the change gained. One difference is noise; so up to eight are taken, as few as will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Outcome = Literal["kept", "rejected", "undecided", "open"]

MOST_PAIRS = 8
FEWEST_PAIRS = 3  # for any verdict
# How the allowed error is spent over 3 to 8 pairs: nearly all at the end, so that looking early
# costs little, as O'Brien and Fleming (1979) do. Times `_SPENT` the looks together spend what is
# allowed, and no more: the looks share most of their data. Simulated, and tested.
_SPENDING = (0.005, 0.03, 0.06, 0.15, 0.4, 1.0)
_SPENT = 0.77
_NO_HOPE = 0.5  # standard errors: from five pairs on, less than this does not become enough


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the differences so far say.

    Attributes:
        outcome: "kept", "rejected", "undecided" (after all pairs), or "open": one more is needed.
        mean: Of the differences; positive is better.
        noise: The standard deviation of one difference; NaN of fewer than two.
        error: The probability of differences like these, or better ones, of a change that does
            nothing; NaN of fewer than two.
        needed: How many pairs would decide it, if the mean is the truth; 0 where it is decided.
    """

    outcome: Outcome
    mean: float
    noise: float
    error: float
    needed: int


def judge(differences: Sequence[float], allowed: float) -> Verdict:
    """Return what paired differences say of a change, with so much error allowed.

    Student's one-sided paired t-test, looked at after 3 to 8 pairs. A change that does nothing is
    kept with a probability of at most `allowed`, whatever the noise is, if differences are about
    normally distributed; one that helps by twice the noise is kept in 98 of 100 cases at 0.01.
    A change that does not look better than nothing is given up early; that costs power alone.

    Args:
        differences: What the change gained in each pair, positive is better; finite.
        allowed: The error, 0.001 to 0.02.
    """
    count = len(differences)
    mean = float(np.mean(differences)) if count else math.nan
    if count < 2:
        return Verdict("open", mean, math.nan, math.nan, FEWEST_PAIRS)
    noise = float(np.std(differences, ddof=1))
    error = _error(mean, noise, count)
    if count < FEWEST_PAIRS:
        return Verdict("open", mean, noise, error, FEWEST_PAIRS)
    if error <= allowed * _SPENT * _SPENDING[min(count, MOST_PAIRS) - FEWEST_PAIRS]:
        return Verdict("kept", mean, noise, error, 0)
    late = count > FEWEST_PAIRS + 1
    if mean <= 0 or (late and mean * math.sqrt(count) < _NO_HOPE * noise):
        return Verdict("rejected", mean, noise, error, 0)
    needed = max(count + 1, pairs_needed(mean, noise, allowed))
    return Verdict("open" if count < MOST_PAIRS else "undecided", mean, noise, error, needed)


def pairs_needed(mean: float, noise: float, allowed: float) -> int:
    """Return how many pairs would show a difference like this, in one look; at least 3.

    Args:
        mean: Of one difference, over 0.
        noise: Its standard deviation.
        allowed: The error.
    """
    from scipy.special import stdtrit

    count = FEWEST_PAIRS
    while mean * math.sqrt(count) < stdtrit(count - 1, 1 - allowed) * noise:
        count = math.ceil(count * 1.1) + 1 if count > 50 else count + 1
        if count > 10_000:
            break
    return count


def _error(mean: float, noise: float, count: int) -> float:
    from scipy.special import stdtr

    if noise == 0:  # the same in every pair
        return 0.0 if mean > 0 else 1.0
    return float(stdtr(count - 1, -mean * math.sqrt(count) / noise))


NOTHING = judge((), 1.0)  # of no pairs at all

"""Whether some records are right as often as others of the same classes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
_NEXT_TO_NOTHING = 1e-18  # of a chance: left out of a convolution
_SMALLEST = 1e-15  # a p-value that no sum of such leavings changes


def p_value(inside: Bools, labels: Whole, right: Bools, units: Whole | None) -> float:
    """Return the two-sided p-value of being right as often inside as outside, class by class.

    The statistic is Cochran's, Mantel's and Haenszel's: how far the number of right records inside
    is from what the accuracy of each class lets expect. Without groups its distribution is exact
    (given how many of each class are inside and how many are right, every choice of who is inside
    is equally likely; Mehta, Patel and Gray, Computing an Exact Confidence Interval for the Common
    Odds Ratio in Several 2x2 Contingency Tables, 1985), so it holds for any number of records.

    With groups the distance counts for less, by the square root of how much groups inflate its
    variance (a design effect, as Rao and Scott, The Analysis of Categorical Data From Complex
    Sample Surveys, 1981). The inflation is the largest of 1, of what one correlation between the
    mates of a group explains, measured on all records, and of what the groups' own parts in the
    statistic say: the first alone is too small for few large groups, the second for slices of few
    errors. So it errs towards finding nothing, the more the smaller the slice.

    Args:
        inside: (N,) which records are looked at.
        labels: (N,) class indices, from 0.
        right: (N,) which records were put in their class.
        units: (N,) the group of each record, from 0; None where there is none.
    """
    counts = np.maximum(np.bincount(labels), 1)
    share, accuracy = (np.bincount(labels, each) / counts for each in (inside, right))
    expected = float((share * accuracy * counts).sum())
    distance = abs(int((inside & right).sum()) - expected)
    if units is not None:
        spread = np.sqrt(accuracy * (1 - accuracy) * counts / np.maximum(counts - 1, 1))[labels]
        distance /= math.sqrt(
            _inflation(inside - share[labels], right - accuracy[labels], spread, units)
        )
    first, chances = _chances(inside, labels, right)
    as_far = np.abs(first + np.arange(len(chances)) - expected) >= distance - 1e-6
    return float(min(1.0, max(_SMALLEST, chances[as_far].sum())))


def _inflation(inside: Floats, right: Floats, spread: Floats, units: Whole) -> float:
    """Return by how much groups inflate the variance of the statistic, 1 or more.

    Args:
        inside: (N,) less its mean in the record's class.
        right: (N,) less its mean in the record's class.
        spread: (N,) the standard deviation of `right` in the record's class.
        units: (N,) the group of each record.
    """
    part = inside * spread
    alone = float((part**2).sum())
    varied = spread > 0  # of a class that is always right, or always wrong, nothing can be told
    sizes = np.bincount(units, varied)
    pairs = float((sizes**2 - sizes).sum())
    if alone == 0 or pairs == 0:
        return 1.0
    unlike = np.divide(right, spread, out=np.zeros_like(right), where=varied)
    together = float((np.bincount(units, unlike) ** 2).sum() - (unlike**2).sum())
    correlation = max(0.0, together / pairs)
    modelled = 1 + correlation * (float((np.bincount(units, part) ** 2).sum()) / alone - 1)
    observed = float((np.bincount(units, inside * right) ** 2).sum()) / alone
    return max(1.0, modelled, observed)


def _chances(inside: Bools, labels: Whole, right: Bools) -> tuple[int, Floats]:
    """Return a number of right records inside, and the chances of it and of those above it."""
    first, chances = 0, np.ones(1)
    for index in np.unique(labels).tolist():
        own = labels == index
        counts = (int((own & which).sum()) for which in (own, right, inside))
        least, more = _hypergeometric(*counts)
        chances = np.convolve(chances, more)
        kept = np.flatnonzero(chances > _NEXT_TO_NOTHING)
        first, chances = first + least + int(kept[0]), chances[kept[0] : kept[-1] + 1]
    return first, chances


def _hypergeometric(total: int, right: int, drawn: int) -> tuple[int, Floats]:
    """Return the least number of right ones among those drawn, and the chances from it on."""
    from scipy.special import gammaln  # costs a third of a second

    least, most = max(0, drawn - (total - right)), min(right, drawn)
    hits = np.arange(least, most + 1)

    def ways(of: int, chosen: Whole) -> Floats:
        return np.asarray(gammaln(of + 1) - gammaln(chosen + 1) - gammaln(of - chosen + 1))

    log = ways(right, hits) + ways(total - right, drawn - hits)
    chances = np.exp(log - log.max())
    return least, chances / chances.sum()

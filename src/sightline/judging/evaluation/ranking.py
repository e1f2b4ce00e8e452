"""How well a class's probability puts its records before the others: areas and curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import quotient

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The records by the probability of one class, the largest first, sorted once.

    Records of equal probability make one block. Only blocks with a record of the class count in
    the areas: between them the curves run straight.

    Attributes:
        order: (N,) int64 the records.
        own: (P,) int64 the places in `order` of the records of the class.
        blocks: (T,) int64 the places in `own` at which the blocks with such a record begin.
        starts: (T,) int64 the places in `order` at which these blocks begin.
        ends: (T,) int64 the places after their last record.
    """

    order: npt.NDArray[np.int64]
    own: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, positive: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating]) -> Ranking:
        """Return the ranking of (N,) records by their probability of a class.

        Args:
            positive: (N,) which records are of the class.
            probability: (N,) what the model gave the class.
        """
        order = np.argsort(-probability, kind="stable")
        falling = probability[order]
        begins = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
        ends = np.r_[begins[1:], len(order)]
        own = np.flatnonzero(positive[order])
        block_of = np.searchsorted(begins, own, side="right") - 1
        used, first = np.unique(block_of, return_index=True)
        return cls(order, own, first, begins[used], ends[used])

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return (B,) ROC AUC and (B,) average precision; NaN without both kinds of record.

        They are scikit-learn's: ties count half in the first, and the second is the sum of the
        precisions at each block's end, by the recall that the block adds.

        Args:
            weights: (B, N) how often each record counts, **in the order of the ranking**.
        """
        if not len(self.own) or len(self.own) == len(self.order):
            nothing = np.full(len(weights), np.nan)
            return nothing, nothing
        upto = np.zeros((len(weights), len(self.order) + 1))
        np.cumsum(weights, axis=1, out=upto[:, 1:])
        found = np.add.reduceat(weights[:, self.own], self.blocks, axis=1)
        hits, before, after = found.cumsum(axis=1), upto[:, self.starts], upto[:, self.ends]
        own, others = hits[:, -1], upto[:, -1] - hits[:, -1]
        passed = (after - hits + before - (hits - found)) / 2
        right = (found * (others[:, np.newaxis] - passed)).sum(axis=1)
        precision = np.divide(hits, after, out=np.zeros_like(hits), where=after > 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without either kind
            both = (own > 0) & (others > 0)
            area = np.where(both, right / (own * others), np.nan)
            average = np.where(both, (found * precision).sum(axis=1) / own, np.nan)
        return area, average


def ranked(num_classes: int) -> range:
    """Return the classes whose areas the overall ROC AUC is the mean of.

    Of two classes it is the second (the positive one), of several each against the rest.
    """
    return range(1 if num_classes == 2 else 0, num_classes)


def overall_area(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Return the overall ROC AUC, NaN where it is not defined.

    Args:
        probabilities: (N, K).
        labels: (N,) class indices.
    """
    areas = []
    for index in ranked(probabilities.shape[1]):
        ranking = Ranking.of(labels == index, probabilities[:, index])
        areas.append(ranking.areas(np.ones((1, len(labels))))[0])
    return float(mean_of_defined(np.stack(areas, axis=-1))[0])


def mean_of_defined(values: Floats) -> Floats:
    """Return (...) the mean of those of (..., K) values that are not NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return quotient(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def area_from_counts(counts: npt.NDArray[np.integer]) -> float:
    """Return the overall ROC AUC of probabilities that were only counted, NaN if not defined.

    Two records in one bin rank equal, so it is the `roc_auc` of probabilities that were rounded
    to their bins.

    Args:
        counts: (C, 2, bins): for each class of `ranked`, the records of other classes and those of
            its own, by what probability of the class they were given; bins ascend.
    """
    others, own = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    below = others.cumsum(axis=1) - others
    ranked_right = (own * (below + others / 2)).sum(axis=1)
    pairs = own.sum(axis=1) * others.sum(axis=1)
    defined = pairs > 0
    return float((ranked_right[defined] / pairs[defined]).mean()) if defined.any() else float("nan")

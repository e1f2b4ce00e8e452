"""Every metric of predictions, for any weights of the records: sorted once, counted many times."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import Tally, class_scores, overall_scores
from sightline.judging.evaluation.losses import log_costs
from sightline.judging.evaluation.ranking import Ranking, mean_of_defined, ranked

Floats = npt.NDArray[np.float64]
Key = tuple[int, str]
BINS = 15  # of the expected calibration error
OVERALL = -1  # stands where a class index would
AREAS = ("roc_auc", "average_precision")
_COSTS = ("brier", "log_loss")
_OF_SECOND = ("precision", "recall", "specificity", "f1")  # overall, of two classes alone

_ORDER = (
    "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1",
    "macro_precision", "macro_recall", "macro_specificity", "macro_f1",
    "roc_auc", "average_precision", "mcc", "cohen_kappa", "brier", "log_loss", "calibration_error",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Binned:
    """The records by the bin of a probability, for the expected calibration error.

    Attributes:
        starts: Where in the order each bin begins that has a record.
        bins: Which bins these are.
        gaps: (N,) in the order: whether what the probability was of came true, less it.
    """

    starts: npt.NDArray[np.int64]
    bins: npt.NDArray[np.int64]
    gaps: Floats

    @classmethod
    def of(cls, true: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating]) -> _Binned:
        """Return records that are already in an order in which their bins are together."""
        place = bin_of(probability)
        starts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
        return cls(starts, place[starts], true - probability.astype(np.float64))

    def sums(self, weights: Floats) -> Floats:
        """Return (B, BINS): the gaps of each bin, by (B, N) weights in the order."""
        result = np.zeros((len(weights), BINS))
        result[:, self.bins] = np.add.reduceat(weights * self.gaps, self.starts, axis=1)
        return result


def bin_of(probability: npt.NDArray[np.floating], bins: int = BINS) -> npt.NDArray[np.int64]:
    """Return (N,) which of some bins of equal width each probability is in.

    A bin holds its upper edge, and the first one 0 as well (Guo et al., On Calibration of Modern
    Neural Networks, 2017).
    """
    raised = np.ceil(probability.astype(np.float64) * bins).astype(np.int64) - 1
    return np.clip(raised, 0, bins - 1)


class Figures:
    """Metrics of one set of predictions as a function of how often each record counts.

    Attributes:
        names: The class index (`OVERALL` for all together) and metric of each figure, in order.
        binned: The classes, `OVERALL` last, whose calibration error is among them.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64],
        predicted: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.float32],
        keys: Collection[Key] | None = None,
    ) -> None:
        """Sort the records by the probability of every class that it takes.

        Args:
            labels: (N,) class indices.
            predicted: (N,) the classes decided for.
            probabilities: (N, K), rows summing to 1.
            keys: The figures wanted; None: all of them.
        """
        self._classes = probabilities.shape[1]
        cells = labels * self._classes + predicted
        self._by_cell = np.argsort(cells, kind="stable")
        self._cells, self._cell_starts = np.unique(cells[self._by_cell], return_index=True)
        every = _every(self._classes)
        self._take(every if keys is None else [key for key in every if key in keys])
        self._rankings: dict[int, Ranking] = {}
        self._bins: dict[int, _Binned] = {}
        binned = set(self.binned)
        for index in sorted({*self._areas, *binned} - {OVERALL}):
            positive, probability = labels == index, probabilities[:, index]
            ranking = Ranking.of(positive, probability)
            self._rankings[index] = ranking
            if index in binned:
                order = ranking.order
                self._bins[index] = _Binned.of(positive[order], probability[order])
        costed = [key for key in self.names if key[1] in _COSTS]
        self._costs = {key: _costs(labels, probabilities, key) for key in costed}
        top = probabilities.argmax(axis=1)
        sureness = probabilities[np.arange(len(top)), top]
        self._by_sureness = np.argsort(sureness, kind="stable")
        self._top = _Binned.of((top == labels)[self._by_sureness], sureness[self._by_sureness])

    def only(self, keys: Collection[Key]) -> Figures:
        """Return some of the figures: those of these keys, without sorting anew."""
        part = copy.copy(self)
        part._take([key for key in self.names if key in keys])
        needed = {*part._areas, *part.binned}
        part._rankings = {k: each for k, each in self._rankings.items() if k in needed}
        part._costs = {key: each for key, each in self._costs.items() if key in keys}
        return part

    def _take(self, names: Sequence[Key]) -> None:
        """Note which figures are wanted, and what of each class they need."""
        self.names = tuple(names)
        areas = {index for index, name in names if name in AREAS}
        if OVERALL in areas:
            areas = (areas | set(ranked(self._classes))) - {OVERALL}
        self._areas = frozenset(areas)
        binned = [index for index, name in names if name == "calibration_error"]
        self.binned = tuple(sorted(binned, key=lambda index: (index == OVERALL, index)))

    def __call__(self, weights: Floats) -> Floats:
        """Return (B, F + G * BINS): every figure, NaN where undefined, then every gap of `binned`.

        Args:
            weights: (B, N) how often each record counts.
        """
        total = weights.sum(axis=1)
        areas, gaps = self._sorted(weights)
        gaps /= total[:, np.newaxis, np.newaxis]
        tally = self._tally(weights)
        overall, of_class = overall_scores(tally), class_scores(tally)
        of_class |= dict(zip(AREAS, areas, strict=True))
        chosen = list(ranked(self._classes))
        overall |= {
            name: mean_of_defined(area[:, chosen]) for name, area in zip(AREAS, areas, strict=True)
        }
        # One by one, so that a cost is the same to the last bit whatever else is wanted; `@` would
        # wake BLAS' threads for each, beside those of the resamples, and take 200 times as long.
        paid = {
            key: np.einsum("bn,n->b", weights, cost) / total for key, cost in self._costs.items()
        }
        errors = dict(zip(self.binned, np.abs(gaps).sum(axis=2).T, strict=True))

        def column(index: int, name: str) -> Floats:
            if name in _COSTS:
                return np.asarray(paid[index, name])
            if name == "calibration_error":
                return np.asarray(errors[index])
            return overall[name] if index == OVERALL else of_class[name][:, index]

        found = np.stack([column(*key) for key in self.names], axis=1)
        return np.concatenate([found, gaps.reshape(len(weights), len(self.binned) * BINS)], axis=1)

    def whole(self) -> Floats:
        """Return (C,) what a call gives where every record counts once."""
        return np.asarray(self(np.ones((1, len(self._by_cell))))[0])

    def metrics(self) -> dict[Key, float | None]:
        """Return every figure where every record counts once, by name; None where undefined."""
        values = self.whole()[: len(self.names)].tolist()
        return {
            key: None if np.isnan(value) else value
            for key, value in zip(self.names, values, strict=True)
        }

    def split(self, measured: Floats) -> tuple[Floats, Floats]:
        """Return (B, F) figures and (B, G, BINS) gaps, in the order of `binned`, of a call.

        A gap is the weight of a bin times how far its mean probability is below its share of what
        came true; the absolute gaps sum to the expected calibration error.
        """
        figures = measured[:, : len(self.names)]
        gaps = measured[:, len(self.names) :]
        return figures, gaps.reshape(len(measured), len(self.binned), BINS)

    def _sorted(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return (2, B, K) areas, NaN of classes not wanted, and (B, G, BINS) sums of gaps."""
        areas = np.full((len(AREAS), len(weights), self._classes), np.nan)
        gaps = np.empty((len(weights), len(self.binned), BINS))
        places = {index: place for place, index in enumerate(self.binned)}
        for index, ranking in self._rankings.items():
            in_order = weights[:, ranking.order]
            if index in self._areas:
                areas[:, :, index] = ranking.areas(in_order)
            if index in places:
                gaps[:, places[index]] = self._bins[index].sums(in_order)
        if OVERALL in places:
            gaps[:, -1] = self._top.sums(weights[:, self._by_sureness])
        return areas, gaps

    def _tally(self, weights: Floats) -> Tally:
        """Return how many records of each class there are, were called so, and rightly."""
        sums = np.add.reduceat(weights[:, self._by_cell], self._cell_starts, axis=1)
        true, called = self._cells // self._classes, self._cells % self._classes
        own = true == called
        right = np.zeros((len(weights), self._classes))
        right[:, true[own]] = sums[:, own]
        return Tally(right, *(_by_class(sums, each, self._classes) for each in (called, true)))


def of_all(classes: int) -> tuple[Key, ...]:
    """Return the figures of all classes together, in order."""
    chosen = _ORDER if classes == 2 else [name for name in _ORDER if name not in _OF_SECOND]
    return tuple((OVERALL, name) for name in chosen)


def _every(classes: int) -> tuple[Key, ...]:
    """Return all figures, in order."""
    of_class = [name for name in _ORDER if not name.startswith("macro_")]
    return (*of_all(classes), *((index, name) for index in range(classes) for name in of_class))


def _by_class(sums: Floats, classes: npt.NDArray[np.int64], count: int) -> Floats:
    """Return (B, count) the sums of (B, C) numbers by the class of each of the C."""
    order = np.argsort(classes, kind="stable")
    present, starts = np.unique(classes[order], return_index=True)
    result = np.zeros((len(sums), count))
    result[:, present] = np.add.reduceat(sums[:, order], starts, axis=1)
    return result


def _costs(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32], key: Key
) -> Floats:
    """Return (N,) what a cost is the mean of: Brier's squares, or the log loss, of each record."""
    index, name = key
    if index == OVERALL and name == "log_loss":
        return log_costs(probabilities[np.arange(len(labels)), labels])
    if index == OVERALL and probabilities.shape[1] > 2:
        squares = probabilities.astype(np.float64) ** 2
        true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return np.asarray(squares.sum(axis=1) - true**2 + (1 - true) ** 2)
    own, probability = labels == (1 if index == OVERALL else index), probabilities[:, index]
    if name == "log_loss":
        return log_costs(np.where(own, probability, 1 - probability))
    return np.asarray((own - probability.astype(np.float64)) ** 2)

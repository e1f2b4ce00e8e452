"""Every metric of predictions, for any weights of the records: sorted once, counted many times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import class_scores, overall_scores
from sightline.judging.evaluation.losses import log_costs
from sightline.judging.evaluation.ranking import Ranking, mean_of_defined, ranked

Floats = npt.NDArray[np.float64]
BINS = 15  # of the expected calibration error
OVERALL = -1  # stands where a class index would

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


def bin_of(probability: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return (N,) which of 15 bins of equal width each probability is in.

    A bin holds its upper edge, and the first one 0 as well (Guo et al., On Calibration of Modern
    Neural Networks, 2017).
    """
    raised = np.ceil(probability.astype(np.float64) * BINS).astype(np.int64) - 1
    return np.clip(raised, 0, BINS - 1)


class Figures:
    """All metrics of one set of predictions as a function of how often each record counts.

    Attributes:
        names: The class index (`OVERALL` for all together) and metric of each figure, in order.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64],
        predicted: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.float32],
    ) -> None:
        """Sort the records by every class's probability.

        Args:
            labels: (N,) class indices.
            predicted: (N,) the classes decided for.
            probabilities: (N, K), rows summing to 1.
        """
        self._classes = probabilities.shape[1]
        cells = labels * self._classes + predicted
        self._by_cell = np.argsort(cells, kind="stable")
        self._cells, self._cell_starts = np.unique(cells[self._by_cell], return_index=True)
        self._rankings, self._binned, costs = [], [], []
        for index in range(self._classes):
            positive, probability = labels == index, probabilities[:, index]
            ranking = Ranking.of(positive, probability)
            self._rankings.append(ranking)
            self._binned.append(_Binned.of(positive[ranking.order], probability[ranking.order]))
            costs.append((positive - probability.astype(np.float64)) ** 2)
            costs.append(log_costs(np.where(positive, probability, 1 - probability)))
        costs.append(log_costs(probabilities[np.arange(len(labels)), labels]))
        self._costs = np.stack(costs, axis=1)
        top = probabilities.argmax(axis=1)
        sureness = probabilities[np.arange(len(top)), top]
        self._by_sureness = np.argsort(sureness, kind="stable")
        self._top = _Binned.of((top == labels)[self._by_sureness], sureness[self._by_sureness])
        self.names = self._names()

    def __call__(self, weights: Floats) -> Floats:
        """Return (B, F + (K + 1) * BINS): every figure, NaN where undefined, then every gap.

        Args:
            weights: (B, N) how often each record counts.
        """
        found, gaps = self._measure(weights)
        columns = [found[name] for name in self.names]
        return np.concatenate(
            [np.stack(columns, axis=1), gaps.reshape(len(weights), gaps.shape[1] * BINS)], axis=1
        )

    def whole(self) -> Floats:
        """Return (C,) what a call gives where every record counts once."""
        return np.asarray(self(np.ones((1, len(self._by_cell))))[0])

    def metrics(self) -> dict[tuple[int, str], float | None]:
        """Return every figure where every record counts once, by name; None where undefined."""
        values = self.whole()[: len(self.names)].tolist()
        return {
            key: None if np.isnan(value) else value
            for key, value in zip(self.names, values, strict=True)
        }

    def split(self, measured: Floats) -> tuple[Floats, Floats]:
        """Return (B, F) figures and (B, K + 1, BINS) gaps, of all together last, of a call.

        A gap is the weight of a bin times how far its mean probability is below its share of what
        came true; the absolute gaps sum to the expected calibration error.
        """
        figures = measured[:, : len(self.names)]
        gaps = measured[:, len(self.names) :]
        return figures, gaps.reshape(len(measured), self._classes + 1, BINS)

    def _measure(self, weights: Floats) -> tuple[dict[tuple[int, str], Floats], Floats]:
        total = weights.sum(axis=1)
        confusion = self._confusion(weights)
        costs = weights @ self._costs / total[:, np.newaxis]
        gaps = np.empty((len(weights), self._classes + 1, BINS))
        per_class = class_scores(confusion)
        found: dict[tuple[int, str], Floats] = {}
        areas = []
        for index in range(self._classes):
            sorted_weights = weights[:, self._rankings[index].order]
            area, average = self._rankings[index].areas(sorted_weights)
            areas.append((area, average))
            gaps[:, index] = self._binned[index].sums(sorted_weights)
            found |= {(index, name): scores[:, index] for name, scores in per_class.items()}
            found[index, "roc_auc"], found[index, "average_precision"] = area, average
            found[index, "brier"] = costs[:, 2 * index]
            found[index, "log_loss"] = costs[:, 2 * index + 1]
        gaps[:, -1] = self._top.sums(weights[:, self._by_sureness])
        gaps /= total[:, np.newaxis, np.newaxis]
        errors = np.abs(gaps).sum(axis=2)
        for index in range(self._classes):
            found[index, "calibration_error"] = errors[:, index]
        found |= {(OVERALL, name): scores for name, scores in overall_scores(confusion).items()}
        chosen = np.asarray([areas[index] for index in ranked(self._classes)])  # (C, 2, B)
        found[OVERALL, "roc_auc"] = mean_of_defined(chosen[:, 0].T)
        found[OVERALL, "average_precision"] = mean_of_defined(chosen[:, 1].T)
        squares = costs[:, 0:-1:2]
        found[OVERALL, "brier"] = squares[:, 1] if self._classes == 2 else squares.sum(axis=1)
        found[OVERALL, "log_loss"] = costs[:, -1]
        found[OVERALL, "calibration_error"] = errors[:, -1]
        return found, gaps

    def _confusion(self, weights: Floats) -> Floats:
        result = np.zeros((len(weights), self._classes**2))
        sums = np.add.reduceat(weights[:, self._by_cell], self._cell_starts, axis=1)
        result[:, self._cells] = sums
        return result.reshape(len(weights), self._classes, self._classes)

    def _names(self) -> tuple[tuple[int, str], ...]:
        of_class = [name for name in _ORDER if not name.startswith("macro_")]
        overall = [name for name in _ORDER if self._classes == 2 or name not in _ORDER[2:6]]
        classes = range(self._classes)
        return (
            *((OVERALL, name) for name in overall),
            *((index, name) for index in classes for name in of_class),
        )

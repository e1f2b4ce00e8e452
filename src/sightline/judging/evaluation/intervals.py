"""Which figures get an interval, from what, and which are told that there are too few records."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import confusion_matrix
from sightline.judging.evaluation.figures import AREAS, OVERALL, Figures, Key
from sightline.judging.evaluation.losses import LARGEST_LOSS
from sightline.judging.evaluation.resampling import (
    ENOUGH_GROUPS,
    ENOUGH_RECORDS,
    NO_SPREAD,
    ROUNDS,
    Resampling,
    interval,
    jackknife,
    resampling,
    t_quantile,
    wilson,
)
from sightline.judging.evaluation.unseen import unseen_errors
from sightline.records import Interval, Predictions

Floats = npt.NDArray[np.float64]
ENOUGH_ANSWERS = 10  # predictions of a class, for an interval of a figure that they decide
_TAIL = 0.025
_SAME = 1e-12  # rounding of sums
_NOTHING = 1e-300  # so that no gap at all is not divided by
_MOST_ERROR = (
    4.0  # times the calibration error found; beyond it no end of an interval is looked for
)
_HALVINGS = 15  # of the steps to such an end: a ten-thousandth of the error found

_OF_ANSWERS = frozenset({"accuracy", "balanced_accuracy", "precision", "f1", "mcc", "cohen_kappa"})
_OF_EVERY_CLASS = frozenset(
    {"balanced_accuracy", "macro_precision", "macro_recall", "macro_specificity", "macro_f1",
     "roc_auc", "average_precision"}
)  # fmt: skip
_OF_AGREEMENT = frozenset({"mcc", "cohen_kappa"})
_OF_SECOND = frozenset({"precision", "recall", "specificity", "f1", "mcc", "cohen_kappa"})


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """What the figures rest on.

    Attributes:
        names: (K,) the classes.
        confusion: (K, K) counts, row = true class.
        units: (K,) records or, where they are resampled, groups with a record of each class.
        others: (K,) records or groups with a record of another class.
        total: Records or groups in all.
        grouped: Whether groups are resampled.
        counts: (K,) records of each class.
        answers: (K,) records that were called each class.
    """

    names: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]
    others: npt.NDArray[np.int64]
    total: int
    grouped: bool
    counts: npt.NDArray[np.int64] = field(init=False)
    answers: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Sum the confusion matrix, once for all figures."""
        object.__setattr__(self, "counts", self.confusion.sum(axis=1))
        object.__setattr__(self, "answers", self.confusion.sum(axis=0))

    @classmethod
    def of(
        cls, sample: Resampling, names: tuple[str, ...], confusion: npt.NDArray[np.int64]
    ) -> Basis:
        """Return the basis of the figures of resampled records."""
        total = int(sample.sizes.sum())
        held = np.zeros((total, len(names)), np.bool_)
        held[sample.units, sample.labels] = True
        alone = held.sum(axis=1) == 1
        others = total - (held & alone[:, np.newaxis]).sum(axis=0)
        return cls(names, confusion, held.sum(axis=0), others, total, sample.grouped)

    def needed(self, key: Key) -> list[int]:
        """Return the classes that a figure rests on; empty where it rests on all records alike."""
        index, name = key
        if index != OVERALL:
            return [index]
        if len(self.names) == 2 and name in _OF_SECOND:
            return [1]
        present = np.flatnonzero(self.counts)
        return present.tolist() if name in _OF_EVERY_CLASS else []

    def least(self, key: Key) -> int:
        """Return how many independent records or groups a figure rests on at least."""
        sides = [min(self.units[index], self.others[index]) for index in self.needed(key)]
        return int(min(sides, default=self.total))

    def smallest(self) -> int:
        """Return the records or groups of the smallest class; of a tiny one as if it had 10."""
        return max(ENOUGH_GROUPS, int(self.units[self.units > 0].min()))

    def too_few(self, key: Key) -> str:
        """Return why there is no interval for a figure; "" where there are enough records."""
        counts, total = self.counts, int(self.counts.sum())
        if total < ENOUGH_RECORDS:
            return _note(total, "images", ENOUGH_RECORDS)
        if self.grouped and self.total < ENOUGH_GROUPS:
            return _note(self.total, "groups", ENOUGH_GROUPS)
        for index in self.needed(key):
            whose = "" if key[0] == index else f" of {self.names[index]}"
            if counts[index] < ENOUGH_RECORDS:
                return _note(int(counts[index]), f"images{whose}", ENOUGH_RECORDS)
            if total - counts[index] < ENOUGH_RECORDS:
                return _note(int(total - counts[index]), "images of other classes", ENOUGH_RECORDS)
            if self.grouped and self.units[index] < ENOUGH_GROUPS:
                return _note(int(self.units[index]), f"groups{whose}", ENOUGH_GROUPS)
            if self.grouped and self.others[index] < ENOUGH_GROUPS:
                return _note(int(self.others[index]), "groups of other classes", ENOUGH_GROUPS)
            answers = int(self.answers[index])
            if answers < ENOUGH_ANSWERS and key[1].removeprefix("macro_") in _OF_ANSWERS:
                called = f"images were called {self.names[index]}"
                return _note(answers, called, ENOUGH_ANSWERS)
        commonest = int(self.answers.argmax())
        others = total - int(self.answers[commonest])
        if others < ENOUGH_ANSWERS and key[1] in _OF_AGREEMENT:
            called = f"images were called anything but {self.names[commonest]}"
            return _note(others, called, ENOUGH_ANSWERS)
        return ""

    def proportion(self, key: Key) -> Interval | None:
        """Return Wilson's interval where a figure is a proportion of independent records."""
        index, name = key
        if index == OVERALL:
            index = 1 if len(self.names) == 2 else OVERALL
        if self.grouped or index == OVERALL or name not in ("recall", "specificity"):
            return None
        right, count = int(self.confusion[index, index]), int(self.counts[index])
        if name == "specificity":
            false = int(self.answers[index]) - right
            count = int(self.counts.sum()) - count
            right = count - false
        return Interval(right / count, *wilson(right / count, count))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Figures of records, and how sure they are.

    Attributes:
        metrics: Each figure; None where it is not defined.
        intervals: Of those that are defined.
        confusion: (K, K) counts, row = true class.
        sample: How the records were resampled.
    """

    metrics: dict[Key, float | None]
    intervals: dict[Key, Interval]
    confusion: npt.NDArray[np.int64]
    sample: Resampling


def measured(
    scored: Predictions,
    units: npt.NDArray[np.int64] | None,
    keys: Collection[Key] | None = None,
    *,
    rounds: int = ROUNDS,
) -> Measured:
    """Return the figures of records, each with its interval.

    Args:
        scored: As `Predictions.scored` gives.
        units: What is resampled as a whole, as `resampling` takes it.
        keys: The figures wanted; None: all of them.
        rounds: Resamples, at least 2.

    Raises:
        DataError: A label is not one of the model's classes.
    """
    labels, predicted = scored.label_indices(), scored.predicted_indices()
    names = scored.class_names
    confusion = confusion_matrix(labels, predicted, len(names))
    figures = Figures(labels, predicted, scored.probabilities, keys)
    sample = resampling(labels, units, rounds=rounds)
    metrics = figures.metrics()
    sure = _intervals(figures, sample, Basis.of(sample, names, confusion), metrics)
    return Measured(metrics, sure, confusion, sample)


def _intervals(
    figures: Figures, sample: Resampling, basis: Basis, metrics: dict[Key, float | None]
) -> dict[Key, Interval]:
    """Return the interval of every figure that is defined, in the order of the figures."""
    found: dict[Key, Interval] = {}
    for key, value in metrics.items():
        if value is None:
            continue
        if proportion := basis.proportion(key):
            found[key] = proportion
        elif note := basis.too_few(key):
            found[key] = Interval(value, None, None, note)
    rest = {key for key, value in metrics.items() if value is not None and key not in found}
    if rest:  # resampling is what takes long
        found |= _resampled(figures.only(rest), sample, basis)
    return {key: found[key] for key in metrics if key in found}


def _resampled(figures: Figures, sample: Resampling, basis: Basis) -> dict[Key, Interval]:
    """Return the interval of every figure, from resamples."""
    count = len(figures.names)
    (values,), (gaps,) = figures.split(figures.whole()[np.newaxis])
    drawn, drawn_gaps = figures.split(sample.drawn(figures))
    errors, doubts = jackknife(sample, sample.left_out(figures)[:, :count])
    unseen = _unseen(basis)
    found: dict[Key, Interval] = {}
    for column, key in enumerate(figures.names):
        index, name = key
        value = float(values[column])
        if name == "calibration_error" and value > 0:
            place = figures.binned.index(index)
            noise = drawn_gaps[:, place] - gaps[place]
            units = basis.smallest() if index == OVERALL else basis.least(key)
            found[key] = _calibration_interval(value, gaps[place], noise, units)
            continue
        found[key] = interval(
            value, drawn[:, column], units=basis.least(key), bounds=_bounds(key, basis),
            error=float(errors[column]), unseen=unseen.get(key, 0.0), doubt=float(doubts[column]),
            area=name in AREAS,
        )  # fmt: skip
    return found


def _unseen(basis: Basis) -> dict[Key, float]:
    """Return the `unseen_errors` of the figures that rest on counts."""
    overall, of_class = unseen_errors(basis.confusion, basis.units)
    found = {(OVERALL, name): float(error) for name, error in overall.items()}
    for name, errors in of_class.items():
        found |= {(index, name): error for index, error in enumerate(errors.tolist())}
    return found


def _bounds(key: Key, basis: Basis) -> tuple[float, float]:
    index, name = key
    if name in _OF_AGREEMENT:
        return -1.0, 1.0
    if name == "brier" and index == OVERALL and len(basis.names) > 2:
        return 0.0, 2.0
    return 0.0, LARGEST_LOSS if name == "log_loss" else 1.0


def _calibration_interval(value: float, gaps: Floats, noise: Floats, units: int) -> Interval:
    """Return the interval of an expected calibration error, which chance alone makes larger.

    Of all multiples of the gaps found, those are held for which the error found is neither among
    the smallest nor among the largest 2.5 % of what such gaps and the noise would show together
    (test inversion along one family: Hansen, The Grid Bootstrap, 1999). It reaches to 0 where noise
    alone could have made the error, and always holds the error found. Noise adds least to gaps that
    are spread as it is itself; as the true ones may be so, the upper end is theirs where larger.

    Args:
        value: The error found: the sum of the absolute gaps.
        gaps: (BINS,).
        noise: (R, BINS) how far the gaps of each resample are from these.
        units: How many independent records or groups it rests on.
    """
    if noise.std(axis=0).max() < _SAME:
        return Interval(value, None, None, NO_SPREAD)
    noise = noise * (t_quantile(units - 1) / t_quantile(np.inf))
    spread = np.sign(gaps) * noise.std(axis=0)
    low = _largest_error(value, gaps, noise, 1 - _TAIL)
    high = max(_largest_error(value, each, noise, _TAIL) for each in (gaps, spread))
    return Interval(value, min(value, low), min(1.0, max(value, high)))


def _largest_error(value: float, gaps: Floats, noise: Floats, tail: float) -> float:
    """Return the largest error of gaps of this shape that shows no more than the value in a tail.

    Args:
        value: The error found.
        gaps: (BINS,) in any unit.
        noise: (R, BINS).
        tail: The share of the resamples that show at most the value.
    """
    shape = gaps / max(float(np.abs(gaps).sum()), _NOTHING)
    low, high = 0.0, min(1.0, _MOST_ERROR * value)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        shown = np.quantile(np.abs(middle * shape + noise).sum(axis=1), tail)
        low, high = (middle, high) if shown <= value else (low, middle)
    return low


def _note(count: int, what: str, needed: int) -> str:
    return f"too few to say: {count} {what}, {needed} are needed"

"""Figures over the folds of a cross-validation: mean, spread, and how sure the mean is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from sightline.judging.evaluation.resampling import t_quantile
from sightline.records import Evaluation, Interval
from sightline.records.crossvalidation import Fold, Spread

_OF_AGREEMENT = ("mcc", "cohen_kappa")
_SAME = 1e-12  # rounding of sums
_FEWEST = 2  # values that have a spread


def spread_over_folds(
    folds: Sequence[Fold], pooled: Sequence[Evaluation]
) -> tuple[dict[str, Spread], dict[str, dict[str, Spread]]]:
    """Return every metric over all folds, and likewise of each class.

    Args:
        folds: Finished ones, in order; one or more.
        pooled: Of the out-of-fold predictions, one for each repeat.
    """
    share = _share(folds)
    several = len(pooled[0].classes) > 2
    metrics = {
        name: _spread(
            [fold.metrics.get(name) for fold in folds], share, _bounds(name, several=several),
            [each.intervals.get(name) for each in pooled],
        )
        for name in pooled[0].metrics
    }  # fmt: skip
    classes = {
        scores.name: {
            name: _spread(
                [fold.classes.get(scores.name, {}).get(name) for fold in folds], share,
                _bounds(name, several=False),
                [each.classes[place].intervals.get(name) for each in pooled],
            )
            for name in scores.metrics
        }
        for place, scores in enumerate(pooled[0].classes)
    }  # fmt: skip
    return metrics, classes


def corrected_interval(
    values: Sequence[float], share: float, *, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Return the mean of a figure over folds, with its 95 % interval.

    The folds' training images are mostly the same, so their figures are not independent and the
    variance of their mean is more than s² / J. The corrected resampled t interval of Nadeau and
    Bengio (Inference for the Generalization Error, Machine Learning 52, 2003, section 5) takes
    s² (1 / J + n_test / n_train) in its place, with Student's t of J - 1 degrees of freedom; for
    repeated K folds, with J their product: Bouckaert and Frank, Evaluating the Replicability of
    Significance Tests for Comparing Learning Algorithms, 2004.

    Args:
        values: (J,) of each fold, of all repeats.
        share: n_test / n_train, images of the fold by those that its network was made with.
        bounds: The least and the largest value that there can be.
    """
    mean, count = float(np.mean(values)), len(values)
    if count < _FEWEST:
        return Interval(mean, None, None, f"too few to say: {count} fold, {_FEWEST} are needed")
    variance = float(np.var(values, ddof=1))
    if variance <= _SAME**2:
        return Interval(mean, None, None, "too few to say: the same in every fold")
    reach = t_quantile(count - 1) * math.sqrt(variance * (1 / count + share))
    return Interval(mean, max(bounds[0], mean - reach), min(bounds[1], mean + reach))


def _share(folds: Sequence[Fold]) -> float:
    """Return n_test / n_train; validation images count as learned from: they are chosen by."""
    learned = sum(fold.num_train + fold.num_validation for fold in folds)
    return sum(fold.count for fold in folds) / learned


def _spread(
    values: Sequence[float | None],
    share: float,
    bounds: tuple[float, float],
    pooled: Iterable[Interval | None],
) -> Spread:
    known = [value for value in values if value is not None]
    return Spread(
        values=tuple(values),
        mean=float(np.mean(known)) if known else None,
        deviation=float(np.std(known, ddof=1)) if len(known) >= _FEWEST else None,
        interval=corrected_interval(known, share, bounds=bounds) if known else None,
        pooled=_averaged([each for each in pooled if each is not None]),
    )


def _averaged(intervals: Sequence[Interval]) -> Interval | None:
    """Return the mean of one figure over repeats, between the means of its edges.

    Each repeat is judged alone: the mean of an image's probabilities over repeats would be an
    ensemble, which is better than what a training gives. The repeats judge the same images, so
    their mean is no less sure than each of them is on average.
    """
    if not intervals:
        return None
    value = float(np.mean([each.value for each in intervals]))
    for each in intervals:
        if each.low is None or each.high is None:
            return Interval(value, None, None, each.note)
    low, high = (
        float(np.mean([getattr(each, edge) for each in intervals])) for edge in ("low", "high")
    )
    return Interval(value, low, high)


def _bounds(name: str, *, several: bool) -> tuple[float, float]:
    if name in _OF_AGREEMENT:
        return -1.0, 1.0
    if name == "log_loss":
        return 0.0, math.inf
    return 0.0, 2.0 if name == "brier" and several else 1.0

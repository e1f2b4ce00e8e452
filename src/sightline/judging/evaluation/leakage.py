"""What leaked images do to the figures: each metric with and without them, with intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.scores import losses, macro_scores, scores_from_confusion
from sightline.records import Interval, LeakEffect, Predictions

_RESAMPLES = 1000
_SEED = 5
_COUNTED = ("accuracy", "balanced_accuracy", "macro_f1")


def leak_effect(
    predictions: Predictions, leaked: npt.NDArray[np.bool_], units: npt.NDArray[np.int64]
) -> LeakEffect:
    """Return accuracy, balanced accuracy, macro F1 and log loss with and without leaked records.

    Intervals are 95 % percentile bootstraps (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13) of 1,000 resamples of whole units, because images of one patient
    are no independent witnesses. Deterministic.

    Args:
        predictions: Of records that were read and have a label, as `Predictions.scored` gives.
        leaked: (N,) whether a record has a copy, or an image of its group, that was learned from.
        units: (N,) numbers of what is resampled as a whole: a patient, a group of copies.

    Raises:
        ValueError: The shapes differ.
        DataError: A label is not one of the model's classes.
    """
    count = len(predictions)
    if leaked.shape != (count,) or units.shape != (count,):
        raise ValueError(
            f"leaked and units must both be ({count},), got {leaked.shape} and {units.shape}"
        )
    everything = np.ones(count, np.bool_)
    return LeakEffect(
        count=count,
        leaked=int(leaked.sum()),
        whole=_intervals(predictions, everything, units),
        clean=_intervals(predictions, ~leaked, units),
    )


def _intervals(
    predictions: Predictions, chosen: npt.NDArray[np.bool_], units: npt.NDArray[np.int64]
) -> dict[str, Interval]:
    """Return the metrics of the chosen records with their intervals; {} without a record."""
    if not chosen.any():
        return {}
    labels = predictions.label_indices()[chosen]
    cells = labels * len(predictions.class_names) + predictions.predicted_indices()[chosen]
    costs = losses(predictions.probabilities[chosen], labels)
    _, places = np.unique(units[chosen], return_inverse=True)
    number = int(places.max()) + 1
    classes, generator = len(predictions.class_names), np.random.default_rng(_SEED)
    drawn = [
        _scores(cells, costs, np.bincount(picks, minlength=number)[places], classes)
        for picks in (generator.integers(0, number, number) for _ in range(_RESAMPLES))
    ]
    values = _scores(cells, costs, np.ones(len(cells), np.int64), classes)
    edges = {
        name: np.percentile([scores[name] for scores in drawn], (2.5, 97.5)) for name in values
    }
    return {
        name: Interval(value, float(edges[name][0]), float(edges[name][1]))
        for name, value in values.items()
    }


def _scores(
    cells: npt.NDArray[np.int64],
    costs: npt.NDArray[np.float64],
    times: npt.NDArray[np.int64],
    classes: int,
) -> dict[str, float]:
    """Return the metrics of records of which each counts several times, or not at all.

    Args:
        cells: (N,) label * classes + predicted.
        costs: (N,) cross-entropy.
        times: (N,) how often each counts.
        classes: K.
    """
    confusion = np.bincount(cells, weights=times, minlength=classes**2).astype(np.int64)
    confusion = confusion.reshape(classes, classes)
    counted = scores_from_confusion(confusion) | macro_scores(confusion)
    scores = {name: counted[name] for name in _COUNTED}
    return scores | {"log_loss": float(costs @ times / times.sum())}

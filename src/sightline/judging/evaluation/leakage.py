"""What leaked images do to the figures: each metric with and without them, with intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.figures import OVERALL
from sightline.judging.evaluation.intervals import measured
from sightline.records import Interval, LeakEffect, Predictions

_SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")


def leak_effect(
    predictions: Predictions, leaked: npt.NDArray[np.bool_], units: npt.NDArray[np.int64]
) -> LeakEffect:
    """Return accuracy, balanced accuracy, macro F1 and log loss with and without leaked records.

    With the 95 % intervals of `evaluate`, of whole units, because images of one patient are no
    independent witnesses. Deterministic.

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
    part = predictions.chosen(chosen)
    found = measured(part, units[chosen], [(OVERALL, name) for name in _SHOWN]).intervals
    return {name: found[OVERALL, name] for name in _SHOWN}

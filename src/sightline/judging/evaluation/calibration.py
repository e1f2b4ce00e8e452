"""Whether probabilities can be believed, and the one number that mends most of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.figures import BINS, OVERALL, bin_of
from sightline.judging.evaluation.intervals import measured
from sightline.judging.evaluation.resampling import ENOUGH_RECORDS, units_of, wilson
from sightline.records import (
    Calibration,
    Interval,
    Predictions,
    ReliabilityBin,
    tempered,
)

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
_MEASURES = ("log_loss", "brier", "calibration_error")
_HALVINGS = 60  # of the range of 1/T: to the last digits of a float


def fit_temperature(predictions: Predictions) -> float:
    """Return the temperature, 0.05..20, under which the records' log loss is least.

    Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017). The loss is
    convex in 1/T, so its only minimum is where the slope changes sign. 1.0, which changes nothing,
    where the records cannot tell: fewer than 30 of them, labels of one class alone, or every label
    the most probable class of its record, when sharper would always look better. Fit on validation
    records, which the weights were not fitted to. Deterministic.

    Args:
        predictions: Records without a label or a readable image are left out.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
    """
    return _fit(predictions)[0]


def calibrate(
    validation: Predictions,
    judged: Predictions,
    *,
    source: str = "validation",
    before: Mapping[str, Interval] | None = None,
) -> Calibration:
    """Return the temperature of some records, and what it does to the probabilities of others.

    Each figure has the interval of `evaluate`. The decision plays no part, and a temperature
    changes no class that is chosen as the most probable.

    Args:
        validation: What the temperature is fitted on.
        judged: What is judged, as a rule the test split.
        source: What `validation` is called.
        before: The intervals that `evaluate` gave of `judged`, where they are at hand: measuring
            them takes long for many records.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
    """
    temperature, note = _fit(validation)
    scored = judged.scored()
    before = _measures(scored) if before is None else {name: before[name] for name in _MEASURES}
    cooled = tempered(scored.probabilities, temperature).astype(np.float32)
    after = before
    if temperature != 1:
        after = _measures(replace(scored, probabilities=cooled))
    fitted_on = described(validation.scored(), source)
    return Calibration(temperature, fitted_on, len(scored), before, after, note)


def reliability(predictions: Predictions, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return how often records of each confidence were right, by bins of equal width that are used.

    The confidence is the largest probability, whatever is decided. A bin holds its upper edge, the
    first one 0 as well: with 15 of them these are the bins of the expected calibration error.

    Args:
        predictions: Records without a label or a readable image are left out.
        bins: How many there are from 0 to 1, empty ones counted.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, got {bins}")
    scored = predictions.scored()
    confidence = scored.probabilities.max(axis=1)
    true = scored.probabilities.argmax(axis=1) == scored.label_indices()
    place = bin_of(confidence, bins)
    result = []
    for index in np.unique(place).tolist():
        inside = place == index
        count, share = int(inside.sum()), float(true[inside].mean())
        low, high = wilson(share, count)
        mean = float(confidence[inside].mean(dtype=np.float64))
        edges = index / bins, (index + 1) / bins
        result.append(ReliabilityBin(*edges, count, mean, Interval(share, low, high)))
    return tuple(result)


def described(predictions: Predictions, source: str) -> str:
    """Return what something was fitted on, in words; the epoch counted from 1."""
    return (
        f"{len(predictions):,} records of {source}, {predictions.weights} weights, "
        f"epoch {predictions.epoch + 1}"
    )


def _fit(predictions: Predictions) -> tuple[float, str]:
    """Return a temperature, and why it is 1 or at the edge of its range."""
    scored = predictions.scored()
    labels = scored.label_indices()
    if len(scored) < ENOUGH_RECORDS:
        return 1.0, f"too few to fit: {len(scored)} records, {ENOUGH_RECORDS} are needed"
    if len(np.unique(labels)) == 1:
        return 1.0, f"every record is of class {scored.class_names[labels[0]]!r}: nothing to fit"
    logits = np.log(np.clip(scored.probabilities.astype(np.float64), 1e-12, 1.0))
    own = logits[np.arange(len(labels)), labels]
    if (own >= logits.max(axis=1)).all():
        return 1.0, "no record is wrong, so that sharper would always look better: nothing to fit"
    low, high = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE
    if _slope(logits, own, low) >= 0:
        return HIGHEST_TEMPERATURE, "the highest there is: the probabilities say next to nothing"
    if _slope(logits, own, high) <= 0:
        return LOWEST_TEMPERATURE, "the lowest there is: the probabilities are far too unsure"
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _slope(logits, own, middle) < 0 else (low, middle)
    return 1 / ((low * high) ** 0.5), ""


def _slope(
    logits: npt.NDArray[np.float64], own: npt.NDArray[np.float64], sharpness: float
) -> float:
    """Return the derivative of the mean log loss by 1/T: the expected logit less the true one."""
    scaled = logits * sharpness
    shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return float(((shares * logits).sum(axis=1) - own).mean())


def _measures(scored: Predictions) -> dict[str, Interval]:
    """Return how far probabilities can be believed, with the intervals of `evaluate`."""
    found = measured(scored, units_of(scored), [(OVERALL, name) for name in _MEASURES]).intervals
    return {name: found[OVERALL, name] for name in _MEASURES}

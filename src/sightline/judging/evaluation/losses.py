"""What probabilities cost: cross-entropy and Brier's score, record by record."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import check_indices

SMALLEST_PROBABILITY = 1e-7  # the floor of `cross_entropy`; one certain mistake costs at most 16.1
LARGEST_LOSS = float(-np.log(SMALLEST_PROBABILITY))


def cross_entropy(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.integer]) -> float:
    """Return the mean cross-entropy in nats: what Sightline calls `val_loss` and `log_loss`.

    Plain: no class weights, no label smoothing. The mean of `losses`, taken in float64.

    Raises:
        ValueError: As `losses`.
    """
    return float(losses(probabilities, labels).mean())


def losses(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Return (N,) the cross-entropy of each record in nats.

    The probability of the true class is clipped to 1e-7..1, so one certain mistake costs 16.1,
    never infinity.

    Args:
        probabilities: (N, K), rows summing to 1.
        labels: (N,) class indices, 0..K-1.

    Raises:
        ValueError: The shapes do not fit, a label is out of range, or there is no row.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            "probabilities must be (records, classes) and labels (records,), got "
            f"{probabilities.shape} and {labels.shape}"
        )
    if not len(labels):
        raise ValueError("there is no record to average over, got 0 rows")
    check_indices(labels, "labels", probabilities.shape[1])
    return log_costs(probabilities[np.arange(len(labels)), labels])


def log_costs(probability: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return what each probability of what came true costs, in nats, 0..16.1."""
    chosen = np.clip(probability.astype(np.float64), SMALLEST_PROBABILITY, 1.0)
    return np.asarray(-np.log(chosen))

"""Which records are worth looking at: errors made with confidence, doubts, a confusion's cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.records import Mistake, Predictions


def most_confident_errors(predictions: Predictions, count: int) -> list[Mistake]:
    """Return at most `count` wrong predictions, the most confident first, ties by record id.

    Confident is how far the probability of the predicted class is above that of the true one: 0.5
    against 0.49 is a close call between two, 0.5 against 0.01 is none.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: `count` is negative.
    """
    scored = predictions.scored()
    labels, predicted = scored.label_indices(), scored.predicted_indices()
    rows = np.flatnonzero(labels != predicted)
    lead = scored.probabilities[rows, predicted[rows]] - scored.probabilities[rows, labels[rows]]
    return _listed(scored, rows, -lead, count)


def least_certain(predictions: Predictions, count: int) -> list[Mistake]:
    """Return at most `count` predictions, right or wrong, of the smallest `margins` first.

    Ties go by record id.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: `count` is negative.
    """
    scored = predictions.scored()
    return _listed(scored, np.arange(len(scored)), margins(scored), count)


def per_cell(predictions: Predictions, true: str, predicted: str, count: int) -> list[Mistake]:
    """Return at most `count` records of one cell of the confusion matrix.

    Those to which the predicted class was given the largest probability first, ties by record id.

    Args:
        predictions: Records without a label or a readable image are left out.
        true: The label; may be the predicted class too, for what was right.
        predicted: The class decided for.
        count: At most so many.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: There is no such class, or `count` is negative.
    """
    names = predictions.class_names
    unknown = [name for name in (true, predicted) if name not in names]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of the classes {list(names)}")
    scored = predictions.scored()
    row, column = names.index(true), names.index(predicted)
    inside = (scored.label_indices() == row) & (scored.predicted_indices() == column)
    rows = np.flatnonzero(inside)
    return _listed(scored, rows, -scored.probabilities[rows, column], count)


def margins(scored: Predictions) -> npt.NDArray[np.float32]:
    """Return (N,) how far each decision was from being another one, 0..1.

    Under a threshold: how far the probability that it is about is from the threshold. Otherwise:
    how far the largest probability is above the second.

    Args:
        scored: Of records that were read, as `Predictions.scored` gives.
    """
    decision = scored.decision
    if decision.kind == "threshold":
        own = scored.probabilities[:, decision.class_index]
        return np.asarray(np.abs(own - np.float32(decision.threshold)))
    if len(scored.class_names) == 1:
        return np.ones(len(scored), np.float32)
    two = np.partition(scored.probabilities, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def _listed(
    scored: Predictions,
    rows: npt.NDArray[np.int64],
    rank: npt.NDArray[np.floating],
    count: int,
) -> list[Mistake]:
    """Return the first records by rank, then by record id."""
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    ids, names = scored.table["record_id"].to_numpy(), scored.class_names
    labels, predicted, margin = scored.label_indices(), scored.predicted_indices(), margins(scored)
    order = np.lexsort((ids[rows], rank))[:count]
    return [
        Mistake(
            record_id=ids[row],
            label=names[labels[row]],
            predicted=names[predicted[row]],
            probability=float(scored.probabilities[row, predicted[row]]),
            label_probability=float(scored.probabilities[row, labels[row]]),
            margin=float(margin[row]),
        )
        for row in rows[order].tolist()
    ]

"""The scores that come of one confusion matrix, so training and evaluation cannot disagree.

They take one table or many at once, of whole counts or of weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_NOTHING = 1e-12  # of the whole: what is left of 1 - 1 where weights were added up
_OF_A_PAIR = (
    "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "mcc",
    "cohen_kappa",
)  # fmt: skip


class Tally(NamedTuple):
    """What all scores are made of: the diagonal and the sums of a confusion matrix.

    Attributes:
        right: (..., K) records of each class that were called so.
        guessed: (..., K) records that were called each class.
        actual: (..., K) records of each class.
    """

    right: npt.NDArray[Any]
    guessed: npt.NDArray[Any]
    actual: npt.NDArray[Any]

    @classmethod
    def of(cls, confusion: npt.NDArray[Any]) -> Tally:
        """Return the tally of (..., K, K) matrices, row = true class."""
        right = np.diagonal(confusion, axis1=-2, axis2=-1)
        return cls(right, confusion.sum(axis=-2), confusion.sum(axis=-1))


def confusion_matrix(
    labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], num_classes: int
) -> npt.NDArray[np.int64]:
    """Return (K, K) int64 counts: row = true class, column = predicted class.

    Args:
        labels: (N,) class indices.
        predicted: (N,) class indices.
        num_classes: K.

    Raises:
        ValueError: The shapes differ, or an index is not one of 0..K-1.
    """
    if labels.ndim != 1 or labels.shape != predicted.shape:
        raise ValueError(
            f"labels and predicted must both be (records,), got {labels.shape}, {predicted.shape}"
        )
    check_indices(labels, "labels", num_classes)
    check_indices(predicted, "predicted", num_classes)
    cells = labels.astype(np.int64) * num_classes + predicted
    counts = np.bincount(cells, minlength=num_classes**2).astype(np.int64)
    return counts.reshape(num_classes, num_classes)


def scores_from_confusion(confusion: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return accuracy, balanced_accuracy, precision, recall and f1 of a confusion matrix.

    Two classes: precision, recall and f1 are those of the second class (the positive one).
    Several: they are means over the classes that occur as a label or a prediction (macro, as
    scikit-learn averages by default). What has nothing to divide by, such as the precision of a
    class never predicted, counts as 0. `balanced_accuracy` is the mean recall of the classes
    that occur as a label. All in 0..1; a matrix of zeros gives zeros.

    Args:
        confusion: (K, K) counts, row = true class.
    """
    overall = overall_scores(Tally.of(confusion))
    if len(confusion) == 2:
        chosen = {name: overall[name] for name in ("precision", "recall", "f1")}
    else:
        chosen = {name: overall[f"macro_{name}"] for name in ("precision", "recall", "f1")}
    both = {name: overall[name] for name in ("accuracy", "balanced_accuracy")} | chosen
    return {name: float(np.nan_to_num(score, nan=0.0)) for name, score in both.items()}


def macro_scores(confusion: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return macro_precision, macro_recall, macro_specificity and macro_f1, each 0..1.

    Means over the classes that occur as a label or a prediction; what has nothing to divide by
    counts as 0.

    Args:
        confusion: (K, K) counts, row = true class.
    """
    tally = Tally.of(confusion)
    return {name: float(score) for name, score in _macro(tally, _shares(tally)).items()}


def overall_scores(tally: Tally) -> dict[str, Floats]:
    """Return every score of all classes together that counts give, each (...).

    accuracy, balanced_accuracy; of two classes precision, recall, specificity, f1 of the second;
    the macro means; mcc, cohen_kappa. NaN where there is nothing to divide by.

    Args:
        tally: Of (..., K) classes.
    """
    shares = _shares(tally)
    scores = {
        "accuracy": quotient(tally.right.sum(axis=-1), tally.actual.sum(axis=-1)),
        "balanced_accuracy": _mean(shares["recall"], tally.actual > 0),
    }
    if tally.right.shape[-1] == 2:
        scores |= {name: share[..., 1] for name, share in shares.items()}
    return scores | _macro(tally, shares) | _agreement(tally)


def class_scores(tally: Tally) -> dict[str, Floats]:
    """Return every score of each class against the rest that counts give, each (..., K).

    accuracy, balanced_accuracy, precision, recall, specificity, f1, mcc, cohen_kappa. NaN where
    there is nothing to divide by, as for the precision of a class never predicted.

    Args:
        tally: Of (..., K) classes.
    """
    right, guessed, actual = tally
    total = actual.sum(axis=-1)[..., np.newaxis]
    rest = total - actual - (guessed - right)  # of other classes, and called so
    sides = (rest, right), (total - guessed, guessed), (total - actual, actual)
    pairs = overall_scores(Tally(*(np.stack(both, axis=-1) for both in sides)))
    return {name: pairs[name] for name in _OF_A_PAIR}


def quotient(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Floats:
    """Return a quotient, NaN where there is nothing to divide by."""
    result = np.full(np.shape(below), np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result


def check_indices(indices: npt.NDArray[np.integer], name: str, num_classes: int) -> None:
    """Refuse class indices outside 0..K-1 (numpy would wrap -1 to the last class).

    Raises:
        ValueError: There is one.
    """
    if len(indices) and not 0 <= indices.min() <= indices.max() < num_classes:
        wrong = indices[(indices < 0) | (indices >= num_classes)]
        raise ValueError(f"{name} must be in 0..{num_classes - 1}, got {int(wrong[0])}")


def _shares(tally: Tally) -> dict[str, Floats]:
    """Return precision, recall, specificity and f1 of each class, each (..., K)."""
    right, guessed, actual = tally
    others = actual.sum(axis=-1)[..., np.newaxis] - actual
    return {
        "precision": quotient(right, guessed),
        "recall": quotient(right, actual),
        "specificity": quotient(others - (guessed - right), others),
        "f1": quotient(2 * right, guessed + actual),
    }


def _macro(tally: Tally, shares: dict[str, Floats]) -> dict[str, Floats]:
    occurring = tally.actual + tally.guessed > 0
    return {
        f"macro_{name}": np.nan_to_num(_mean(np.nan_to_num(share), occurring))
        for name, share in shares.items()
    }


def _agreement(tally: Tally) -> dict[str, Floats]:
    """Return Matthews' correlation and Cohen's kappa, each (...).

    0 where every label, or every prediction, is of one class: nothing beyond chance. NaN where
    both are of the same one.
    """
    total = tally.actual.sum(axis=-1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # a table of zeros
        actual, guessed = (each / total[..., np.newaxis] for each in (tally.actual, tally.guessed))
        agreed = tally.right.sum(axis=-1) / total
    chance = (actual * guessed).sum(axis=-1)
    labels = 1 - (actual**2).sum(axis=-1)
    answers = 1 - (guessed**2).sum(axis=-1)
    varied = (labels > _NOTHING) & (answers > _NOTHING)
    correlation = quotient(agreed - chance, np.sqrt(np.where(varied, labels * answers, 0)))
    defined = 1 - chance > _NOTHING
    return {
        "mcc": np.where(varied, correlation, np.where(defined, 0.0, np.nan)),
        "cohen_kappa": np.where(defined, quotient(agreed - chance, 1 - chance), np.nan),
    }


def _mean(values: Floats, chosen: npt.NDArray[np.bool_]) -> Floats:
    """Return (...) the mean of the (..., K) values that are chosen."""
    return quotient(np.where(chosen, values, 0.0).sum(axis=-1), chosen.sum(axis=-1))

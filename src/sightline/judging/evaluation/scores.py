"""How good predictions are: pure functions of labels, probabilities and counts.

Every count-based score (accuracy, precision, recall, F1) comes from one confusion matrix, so
training and evaluation cannot disagree; the ranking scores (ROC AUC, average precision) are
scikit-learn's. `tests/judging/test_evaluation.py` holds all of them against scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.records import ClassScores, Evaluation, Predictions

SMALLEST_PROBABILITY = 1e-7  # the floor of `cross_entropy`; one certain mistake costs at most 16.1


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
    _check_indices(labels, "labels", probabilities.shape[1])
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0)))


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
    _check_indices(labels, "labels", num_classes)
    _check_indices(predicted, "predicted", num_classes)
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
    total = int(confusion.sum())
    precision, recall, f1 = (np.nan_to_num(scores, nan=0.0) for scores in _by_class(confusion))
    present = confusion.sum(axis=1) > 0
    chosen = np.asarray([False, True]) if len(confusion) == 2 else _occurring(confusion)
    return {
        "accuracy": float(np.trace(confusion) / total) if total else 0.0,
        "balanced_accuracy": _mean(recall[present]),
        "precision": _mean(precision[chosen]),
        "recall": _mean(recall[chosen]),
        "f1": _mean(f1[chosen]),
    }


def validation_scores(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.integer], names: Iterable[str]
) -> dict[str, float]:
    """Return what an epoch's line says of the validation split: the scores of these names.

    Args:
        probabilities: (N, K), rows summing to 1; the largest is the prediction.
        labels: (N,) class indices, 0..K-1.
        names: Of `scores_from_confusion`, or "auc": the `roc_auc` of `evaluate`, NaN where it is
            not defined.

    Raises:
        ValueError: The shapes differ, or a label is not one of 0..K-1.
    """
    wanted = list(names)
    num_classes = probabilities.shape[1]
    confusion = confusion_matrix(labels, probabilities.argmax(axis=1), num_classes)
    found: dict[str, float | None] = dict(scores_from_confusion(confusion))
    if "auc" in wanted:
        found["auc"] = _mean_of_defined(
            [_area(labels == index, probabilities[:, index]) for index in ranked(num_classes)]
        )
    return {name: np.nan if (value := found[name]) is None else value for name in wanted}


def ranked(num_classes: int) -> range:
    """Return the classes whose areas the overall ROC AUC is the mean of.

    Of two classes it is the second (the positive one), of several each against the rest.
    """
    return range(1 if num_classes == 2 else 0, num_classes)


def area_from_counts(counts: npt.NDArray[np.integer]) -> float:
    """Return the overall ROC AUC of probabilities that were only counted, NaN if not defined.

    Two records in one bin rank equal, so it is the `roc_auc` of probabilities that were rounded
    to their bins.

    Args:
        counts: (C, 2, bins): for each class of `ranked`, the records of other classes and those of
            its own, by what probability of the class they were given; bins ascend.
    """
    others, own = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    below = others.cumsum(axis=1) - others
    ranked_right = (own * (below + others / 2)).sum(axis=1)
    pairs = own.sum(axis=1) * others.sum(axis=1)
    defined = pairs > 0
    return float((ranked_right[defined] / pairs[defined]).mean()) if defined.any() else float("nan")


def macro_scores(confusion: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return macro_precision, macro_recall and macro_f1, 0..1, of any number of classes.

    Means over the classes that occur as a label or a prediction; what has nothing to divide by
    counts as 0.

    Args:
        confusion: (K, K) counts, row = true class.
    """
    occurring = _occurring(confusion)
    return {
        f"macro_{name}": _mean(np.nan_to_num(scores[occurring], nan=0.0))
        for name, scores in zip(("precision", "recall", "f1"), _by_class(confusion), strict=True)
    }


def evaluate(predictions: Predictions, *, source: str) -> Evaluation:
    """Return how good the predictions are, from the records that were read and have a label.

    `metrics` holds, in this order: accuracy, balanced_accuracy; for two classes precision,
    recall, f1 of the second class (the positive one); macro_precision, macro_recall, macro_f1;
    roc_auc and average_precision (two classes: of the second; several: one class against the
    rest, the mean over the classes for which it is defined); log_loss (`cross_entropy`).

    None stands for "not defined": the precision of a class never predicted, the recall of a
    class without a record, ROC AUC and average precision without records both of the class and
    of another. In macro means the first two count as 0, as in `scores_from_confusion`.

    Args:
        predictions: Any set; records without a label are left out, unreadable ones counted.
        source: What is judged: "test", "validation", or the name of an external set.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
    """
    scored = predictions.scored()
    labels = scored.label_indices()
    confusion = confusion_matrix(labels, scored.predicted_indices(), len(scored.class_names))
    classes = _class_scores(scored, labels, confusion)
    return Evaluation(
        source=source,
        count=len(scored),
        unreadable=int(predictions.table["reason"].is_not_null().sum()),
        weights=predictions.weights,
        epoch=predictions.epoch,
        model_fingerprint=predictions.model_fingerprint,
        predictions_hash=predictions.content_hash(),
        metrics=_metrics(confusion, classes, cross_entropy(scored.probabilities, labels)),
        classes=classes,
        confusion=confusion,
    )


@dataclass(frozen=True, slots=True)
class Mistake:
    """A record that was put in the wrong class.

    Attributes:
        record_id: Which record.
        label: Its true class.
        predicted: The class the model gave it.
        probability: What the model gave the predicted class, 0..1.
        label_probability: What the model gave the true class, 0..1.
    """

    record_id: str
    label: str
    predicted: str
    probability: float
    label_probability: float


def worst_mistakes(predictions: Predictions, count: int) -> list[Mistake]:
    """Return at most `count` wrong predictions, the most confident first, ties by record id.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: `count` is negative.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    scored = predictions.scored()
    labels, predicted = scored.label_indices(), scored.predicted_indices()
    names, ids = scored.class_names, scored.table["record_id"]
    mistakes = [
        Mistake(
            record_id=ids[row],
            label=names[labels[row]],
            predicted=names[predicted[row]],
            probability=float(scored.probabilities[row, predicted[row]]),
            label_probability=float(scored.probabilities[row, labels[row]]),
        )
        for row in np.flatnonzero(labels != predicted).tolist()
    ]
    return sorted(mistakes, key=lambda m: (-m.probability, m.record_id))[:count]


def _check_indices(indices: npt.NDArray[np.integer], name: str, num_classes: int) -> None:
    """Refuse class indices outside 0..K-1 (numpy would wrap -1 to the last class)."""
    if len(indices) and not 0 <= indices.min() <= indices.max() < num_classes:
        wrong = indices[(indices < 0) | (indices >= num_classes)]
        raise ValueError(f"{name} must be in 0..{num_classes - 1}, got {int(wrong[0])}")


def _by_class(confusion: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], ...]:
    """Return precision, recall and F1 of each class, three (K,) arrays; NaN where undefined."""
    right = np.diagonal(confusion).astype(np.float64)
    guessed, actual = confusion.sum(axis=0), confusion.sum(axis=1)

    def share(
        above: npt.NDArray[np.float64], below: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        result = np.full(len(below), np.nan)
        np.divide(above, below, out=result, where=below > 0)
        return result

    return share(right, guessed), share(right, actual), share(2 * right, guessed + actual)


def _occurring(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return (K,) which classes occur as a label or as a prediction."""
    return np.asarray(confusion.sum(axis=0) + confusion.sum(axis=1) > 0)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _class_scores(
    scored: Predictions, labels: npt.NDArray[np.int64], confusion: npt.NDArray[np.int64]
) -> tuple[ClassScores, ...]:
    """Return the scores of each class against the rest, in class order."""
    columns = zip(*(_or_none(scores) for scores in _by_class(confusion)), strict=True)
    result = []
    for index, (precision, recall, f1) in enumerate(columns):
        area, average = _ranking(labels == index, scored.probabilities[:, index])
        result.append(
            ClassScores(
                name=scored.class_names[index],
                count=int(confusion[index].sum()),
                metrics={
                    "precision": precision,
                    "recall": recall,
                    "f1": f1,
                    "roc_auc": area,
                    "average_precision": average,
                },
            )
        )
    return tuple(result)


def _or_none(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _ranking(
    positive: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]
) -> tuple[float | None, float | None]:
    """Return ROC AUC and average precision, (None, None) without both kinds of record."""
    from sklearn.metrics import average_precision_score  # costs seconds

    area = _area(positive, probability)
    return area, None if area is None else float(average_precision_score(positive, probability))


def _area(positive: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]) -> float | None:
    """Return ROC AUC, None without both kinds of record."""
    from sklearn.metrics import roc_auc_score  # costs seconds

    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, probability))


def _metrics(
    confusion: npt.NDArray[np.int64], classes: tuple[ClassScores, ...], log_loss: float
) -> dict[str, float | None]:
    """Return the overall figures in the order that `evaluate` promises."""
    counted = scores_from_confusion(confusion)
    metrics: dict[str, float | None] = {
        name: counted[name] for name in ("accuracy", "balanced_accuracy")
    }
    if len(classes) == 2:
        positive = classes[1]
        metrics |= {name: positive.metrics[name] for name in ("precision", "recall", "f1")}
    metrics |= macro_scores(confusion)
    overall = [classes[index] for index in ranked(len(classes))]
    metrics["roc_auc"] = _mean_of_defined([each.metrics["roc_auc"] for each in overall])
    metrics["average_precision"] = _mean_of_defined(
        [each.metrics["average_precision"] for each in overall]
    )
    metrics["log_loss"] = log_loss
    return metrics


def _mean_of_defined(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None

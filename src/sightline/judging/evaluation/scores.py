"""How good predictions are: every metric with its interval, beside answers without looking.

`tests/judging/test_evaluation.py` holds all of them against scikit-learn, `docs/evaluation.md` says
in plain words what each one tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import confusion_matrix, scores_from_confusion
from sightline.judging.evaluation.figures import OVERALL, Figures, Key, of_all
from sightline.judging.evaluation.intervals import measured
from sightline.judging.evaluation.ranking import overall_area
from sightline.judging.evaluation.resampling import ROUNDS, units_of
from sightline.records import ClassScores, Evaluation, Predictions

T = TypeVar("T")


def evaluate(
    predictions: Predictions,
    *,
    source: str,
    class_shares: npt.NDArray[np.floating] | None = None,
    rounds: int = ROUNDS,
) -> Evaluation:
    """Return how good the predictions are, from the records that were read and have a label.

    `metrics` holds, in this order: accuracy, balanced_accuracy; for two classes precision,
    recall, specificity, f1 of the second class (the positive one); macro_precision, macro_recall,
    macro_specificity, macro_f1; roc_auc and average_precision (two classes: of the second;
    several: one class against the rest, the mean over the classes for which it is defined); mcc;
    cohen_kappa; brier (two classes: 0..1, several: the sum over the classes, 0..2); log_loss
    (`cross_entropy`); calibration_error (expected, of the largest probability, in 15 bins of equal
    width). `classes` has the same of each class against the rest. What is counted follows the
    predictions' decision, what is ranked or weighed only their probabilities.

    None stands for "not defined": the precision of a class never predicted, the recall of a
    class without a record, ROC AUC and average precision without records both of the class and
    of another, mcc and kappa where every label and every prediction is of one class. In macro
    means the first two count as 0, as in `scores_from_confusion`.

    Each figure has a 95 % interval (`resampling.interval`), of whole groups resampled where some
    record shares its group, with the classes' counts held; or a note that there are too few
    records to say. Deterministic.

    Args:
        predictions: Any set; records without a label are left out, unreadable ones counted.
        source: What is judged: "test", "validation", or the name of an external set.
        class_shares: (K,) shares or counts of the classes in what was learned from, which the
            baselines go by; by default those of the records judged.
        rounds: Resamples, at least 2.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: The shares are not one a class, negative or all 0, or `rounds` is below 2.
    """
    if rounds < 2:
        raise ValueError(f"rounds must be 2 or more, got {rounds}")
    scored = predictions.scored()
    names = scored.class_names
    found = measured(scored, units_of(scored), rounds=rounds)
    metrics, sure = _by_class(found.metrics), _by_class(found.intervals)
    sample = found.sample
    return Evaluation(
        source=source,
        count=len(scored),
        unreadable=int(predictions.table["reason"].is_not_null().sum()),
        weights=predictions.weights,
        epoch=predictions.epoch,
        model_fingerprint=predictions.model_fingerprint,
        predictions_hash=predictions.content_hash(),
        metrics=metrics[OVERALL],
        classes=tuple(
            ClassScores(name, int(count), metrics[index], sure.get(index, {}))
            for index, (name, count) in enumerate(
                zip(names, found.confusion.sum(axis=1), strict=True)
            )
        ),
        confusion=found.confusion,
        intervals=sure[OVERALL],
        baselines=_baselines(sample.labels, len(names), class_shares),
        groups=int(sample.sizes.sum()) if sample.grouped else 0,
        decision=predictions.decision,
    )


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
    found = scores_from_confusion(confusion)
    if "auc" in wanted:
        found["auc"] = overall_area(probabilities, labels)
    return {name: found[name] for name in wanted}


def _by_class(by_key: Mapping[Key, T]) -> dict[int, dict[str, T]]:
    """Return the part of each class, and of all together, by metric."""
    found: dict[int, dict[str, T]] = {}
    for (index, name), part in by_key.items():
        found.setdefault(index, {})[name] = part
    return found


def _baselines(
    labels: npt.NDArray[np.int64], num_classes: int, given: npt.NDArray[np.floating] | None
) -> dict[str, dict[str, float | None]]:
    """Return the overall metrics of always answering the commonest class, and always the shares.

    They are those of scikit-learn's DummyClassifier with "most_frequent" and with "prior".
    """
    shares = np.bincount(labels, minlength=num_classes) if given is None else np.asarray(given)
    if shares.shape != (num_classes,) or (shares < 0).any() or not shares.sum() > 0:
        raise ValueError(f"class_shares must be ({num_classes},), not negative, got {shares}")
    commonest = int(shares.argmax())
    answers = {
        "majority": np.eye(num_classes, dtype=np.float32)[commonest],
        "prior": (shares / shares.sum()).astype(np.float32),
    }
    predicted = np.full(len(labels), commonest)
    found = {}
    for name, answer in answers.items():
        probabilities = np.broadcast_to(answer, (len(labels), num_classes))
        figures = Figures(labels, predicted, probabilities, of_all(num_classes))
        found[name] = {metric: value for (_, metric), value in figures.metrics().items()}
    return found

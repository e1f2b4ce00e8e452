from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as peer

from sightline.errors import DataError
from sightline.judging.evaluation import (
    area_from_counts,
    confusion_matrix,
    cross_entropy,
    evaluate,
    ranked,
    scores_from_confusion,
    validation_scores,
    worst_mistakes,
)
from sightline.records import Evaluation, Predictions

FOUR = ("a", "b", "c", "d")
TWO = ("healthy", "ill")
MACRO = {"average": "macro", "zero_division": 0}


def arrays(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, predicted classes and probabilities, as scikit-learn wants them."""
    labels = np.asarray([predictions.class_names.index(x) for x in predictions.table["label"]])
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities.argmax(axis=1), probabilities


@pytest.mark.parametrize("seed", range(5))
def test_several_classes_agree_with_scikit_learn(make_predictions, seed):
    predictions = make_predictions(FOUR, seed=seed)
    labels, guessed, probabilities = arrays(predictions)
    one_hot = np.eye(4)[labels]
    expected = {
        "accuracy": peer.accuracy_score(labels, guessed),
        "balanced_accuracy": peer.balanced_accuracy_score(labels, guessed),
        "macro_precision": peer.precision_score(labels, guessed, **MACRO),
        "macro_recall": peer.recall_score(labels, guessed, **MACRO),
        "macro_f1": peer.f1_score(labels, guessed, **MACRO),
        "roc_auc": peer.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "average_precision": peer.average_precision_score(one_hot, probabilities),
        "log_loss": peer.log_loss(labels, probabilities),
    }
    assert dict(evaluate(predictions, source="test").metrics) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_agree_with_scikit_learn(make_predictions, seed):
    predictions = make_predictions(TWO, seed=seed)
    labels, guessed, probabilities = arrays(predictions)
    expected = {
        "accuracy": peer.accuracy_score(labels, guessed),
        "balanced_accuracy": peer.balanced_accuracy_score(labels, guessed),
        "precision": peer.precision_score(labels, guessed),
        "recall": peer.recall_score(labels, guessed),
        "f1": peer.f1_score(labels, guessed),
        "macro_precision": peer.precision_score(labels, guessed, **MACRO),
        "macro_recall": peer.recall_score(labels, guessed, **MACRO),
        "macro_f1": peer.f1_score(labels, guessed, **MACRO),
        "roc_auc": peer.roc_auc_score(labels, probabilities[:, 1]),
        "average_precision": peer.average_precision_score(labels, probabilities[:, 1]),
        "log_loss": peer.log_loss(labels, probabilities),
    }
    assert dict(evaluate(predictions, source="test").metrics) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("score", ["precision", "recall", "f1"])
def test_every_class_agrees_with_scikit_learn(make_predictions, score):
    predictions = make_predictions(FOUR)
    labels, guessed, _ = arrays(predictions)
    expected = getattr(peer, f"{score}_score")(labels, guessed, average=None)
    found = [scores.metrics[score] for scores in evaluate(predictions, source="test").classes]
    assert found == pytest.approx(expected.tolist())


def test_ranking_of_every_class_agrees_with_scikit_learn(make_predictions):
    predictions = make_predictions(FOUR)
    labels, _, probabilities = arrays(predictions)
    for index, scores in enumerate(evaluate(predictions, source="test").classes):
        area = peer.roc_auc_score(labels == index, probabilities[:, index])
        average = peer.average_precision_score(labels == index, probabilities[:, index])
        assert (scores.metrics["roc_auc"], scores.metrics["average_precision"]) == pytest.approx(
            (area, average)
        )


def test_the_confusion_matrix_agrees_with_scikit_learn(make_predictions):
    predictions = make_predictions(FOUR)
    labels, guessed, _ = arrays(predictions)
    found = evaluate(predictions, source="test").confusion
    np.testing.assert_array_equal(found, peer.confusion_matrix(labels, guessed))


def test_records_without_a_label_are_left_out(make_predictions):
    found = evaluate(make_predictions(TWO, labels=["healthy", None, "ill", None]), source="test")
    assert (found.count, found.confusion.sum(), found.unreadable) == (2, 2, 0)


def test_unreadable_records_are_left_out_and_counted(make_predictions):
    predictions = make_predictions(
        TWO, labels=["healthy", "ill", "ill", "ill"], reasons=[None, None, "TRUNCATED", "EMPTY"]
    )
    found = evaluate(predictions, source="test")
    assert (found.count, found.unreadable) == (2, 2)


def test_a_class_without_records_has_no_recall_and_no_area(make_predictions):
    predictions = make_predictions(("a", "b", "never"), labels=["a", "b"] * 20)
    scores = evaluate(predictions, source="test").classes[2]
    assert (
        scores.count,
        *(scores.metrics[name] for name in ("recall", "roc_auc", "average_precision")),
    ) == (
        0,
        None,
        None,
        None,
    )


def test_the_mean_area_leaves_out_a_class_without_records(make_predictions):
    evaluation = evaluate(
        make_predictions(("a", "b", "never"), labels=["a", "b"] * 20), source="test"
    )
    areas = [evaluation.classes[index].metrics["roc_auc"] for index in (0, 1)]
    assert evaluation.metrics["roc_auc"] == pytest.approx(np.mean(areas))


def test_one_class_alone_has_no_ranking_score(make_predictions):
    metrics = evaluate(make_predictions(TWO, labels=["ill"] * 9), source="test").metrics
    assert (metrics["roc_auc"], metrics["average_precision"]) == (None, None)


def test_a_class_never_predicted_has_no_precision(make_predictions):
    predictions = Predictions.make(
        class_names=TWO,
        record_ids=["1", "2"],
        labels=["healthy", "ill"],
        probabilities=np.asarray([[0.9, 0.1], [0.8, 0.2]], np.float32),
    )
    assert evaluate(predictions, source="test").metrics["precision"] is None


def test_the_evaluation_says_which_weights_and_epoch_it_is_about(make_predictions):
    found = evaluate(make_predictions(epoch=7), source="validation")
    assert (found.source, found.weights, found.epoch) == ("validation", "best", 7)


def test_the_evaluation_survives_json(make_predictions):
    found = evaluate(make_predictions(("a", "b", "never"), labels=["a", "b"]), source="test")
    again = Evaluation.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()


def test_nothing_to_judge_is_refused(make_predictions):
    with pytest.raises(DataError, match="none of the 2 records has both a label and a readable"):
        evaluate(make_predictions(labels=[None, None]), source="test")


def test_a_label_the_model_does_not_know_is_refused(make_predictions):
    with pytest.raises(DataError, match=r"record '0001.png' has label 'zebra'"):
        evaluate(make_predictions(labels=["a", "zebra"]), source="test")


def test_a_certain_mistake_costs_a_bounded_loss():
    probabilities = np.asarray([[1.0, 0.0]], np.float32)
    assert cross_entropy(probabilities, np.asarray([1])) == pytest.approx(16.118, abs=1e-3)


def test_cross_entropy_refuses_labels_of_another_shape():
    with pytest.raises(ValueError, match=r"got \(2, 2\) and \(2, 1\)"):
        cross_entropy(np.full((2, 2), 0.5, np.float32), np.zeros((2, 1), np.int64))


def test_cross_entropy_refuses_no_rows():
    with pytest.raises(ValueError, match="got 0 rows"):
        cross_entropy(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))


def test_a_negative_class_index_is_refused():
    with pytest.raises(ValueError, match=r"predicted must be in 0\.\.1, got -1"):
        confusion_matrix(np.asarray([0, 1]), np.asarray([0, -1]), 2)


def test_an_empty_confusion_matrix_scores_zero():
    assert set(scores_from_confusion(np.zeros((3, 3), np.int64)).values()) == {0.0}


def test_the_worst_mistakes_come_first(make_predictions):
    found = worst_mistakes(make_predictions(), 10)
    assert [m.probability for m in found] == sorted((m.probability for m in found), reverse=True)


def test_mistakes_hold_no_right_prediction(make_predictions):
    predictions = make_predictions()
    labels, guessed, _ = arrays(predictions)
    found = worst_mistakes(predictions, len(predictions))
    assert len(found) == (labels != guessed).sum()
    assert all(mistake.label != mistake.predicted for mistake in found)


def test_a_negative_number_of_mistakes_is_refused(make_predictions):
    with pytest.raises(ValueError, match="count must be 0 or more, got -1"):
        worst_mistakes(make_predictions(), -1)


NAMES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc")


@pytest.mark.parametrize("classes", [TWO, FOUR])
def test_an_epoch_is_told_the_scores_of_evaluation(make_predictions, classes):
    predictions = make_predictions(classes)
    labels, _, _ = arrays(predictions)
    found = validation_scores(predictions.probabilities, labels, NAMES)
    judged = evaluate(predictions, source="validation").metrics
    expected = [judged["accuracy"], judged["balanced_accuracy"]]
    prefix = "macro_" if len(classes) > 2 else ""
    expected += [judged[f"{prefix}{name}"] for name in ("precision", "recall", "f1")]
    assert tuple(found) == NAMES
    assert list(found.values()) == [*expected, judged["roc_auc"]]


def test_the_area_of_a_single_class_is_no_number_to_an_epoch():
    probabilities = np.asarray([[0.3, 0.7], [0.2, 0.8]], np.float32)
    assert np.isnan(validation_scores(probabilities, np.asarray([1, 1]), ["auc"])["auc"])


@pytest.mark.parametrize("classes", [TWO, FOUR])
def test_the_area_from_counts_is_that_of_probabilities_rounded_to_their_bins(
    make_predictions, classes
):
    predictions = make_predictions(classes)
    labels, _, _ = arrays(predictions)
    tens = np.floor(predictions.probabilities * 10).astype(np.int64)  # 0..10, with many ties
    chosen = ranked(len(classes))
    counts = [
        [np.bincount(tens[(labels == index) == own, index], minlength=11) for own in (False, True)]
        for index in chosen
    ]
    expected = np.mean([peer.roc_auc_score(labels == index, tens[:, index]) for index in chosen])
    assert area_from_counts(np.asarray(counts)) == pytest.approx(expected)


def test_the_area_from_counts_leaves_out_a_class_without_records():
    alone, apart = [[2, 1], [0, 0]], [[3, 0], [0, 3]]
    assert area_from_counts(np.asarray([alone, apart])) == 1.0


def test_the_area_from_no_counts_is_no_number():
    assert np.isnan(area_from_counts(np.zeros((3, 2, 8), np.int64)))

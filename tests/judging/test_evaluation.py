from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn import metrics as peer
from sklearn.dummy import DummyClassifier

from sightline.errors import DataError
from sightline.judging.evaluation import (
    area_from_counts,
    confusion_matrix,
    cross_entropy,
    evaluate,
    ranked,
    scores_from_confusion,
    validation_scores,
)
from sightline.records import Decision, Evaluation, Predictions

FOUR = ("a", "b", "c", "d")
TWO = ("healthy", "ill")
MACRO = {"average": "macro", "zero_division": 0}


def arrays(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, predicted classes and probabilities, as scikit-learn wants them."""
    labels = np.asarray([predictions.class_names.index(x) for x in predictions.table["label"]])
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities.argmax(axis=1), probabilities


def expected_counts(labels: np.ndarray, guessed: np.ndarray) -> dict[str, float | None]:
    """Return scikit-learn's figures of one class against the rest, from answers alone."""
    given = {"zero_division": 0}
    return {
        "accuracy": peer.accuracy_score(labels, guessed),
        "balanced_accuracy": peer.balanced_accuracy_score(labels, guessed),
        "precision": peer.precision_score(labels, guessed) if guessed.any() else None,
        "recall": peer.recall_score(labels, guessed, **given),
        "specificity": peer.recall_score(~labels, ~guessed, **given),
        "f1": peer.f1_score(labels, guessed, **given),
        "mcc": peer.matthews_corrcoef(labels, guessed),
        "cohen_kappa": peer.cohen_kappa_score(labels, guessed),
    }


def expected_of_class(
    labels: np.ndarray, guessed: np.ndarray, probability: np.ndarray
) -> dict[str, float | None]:
    """Return every figure of one class against the rest, by scikit-learn where it has it."""
    return expected_counts(labels, guessed) | {
        "roc_auc": peer.roc_auc_score(labels, probability),
        "average_precision": peer.average_precision_score(labels, probability),
        "brier": peer.brier_score_loss(labels, probability),
        "log_loss": peer.log_loss(labels, np.clip(probability, 1e-7, 1 - 1e-7)),
        "calibration_error": calibration_error(labels, probability),
    }


def expected_macro(labels: np.ndarray, guessed: np.ndarray, classes: int) -> dict[str, float]:
    one_hot, answers = np.eye(classes, dtype=bool)[labels], np.eye(classes, dtype=bool)[guessed]
    occurring = one_hot.any(axis=0) | answers.any(axis=0)
    return {
        "macro_precision": peer.precision_score(labels, guessed, **MACRO),
        "macro_recall": peer.recall_score(labels, guessed, **MACRO),
        "macro_specificity": peer.recall_score(
            ~one_hot[:, occurring], ~answers[:, occurring], **MACRO
        ),
        "macro_f1": peer.f1_score(labels, guessed, **MACRO),
    }


def calibration_error(true: np.ndarray, probability: np.ndarray) -> float:
    """Return the expected calibration error, a record and a bin at a time."""
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = [
            (came, given)
            for came, given in zip(true.tolist(), probability.tolist(), strict=True)
            if low < given <= high or (number == 0 and given == 0)
        ]
        if inside:
            came, given = np.mean([x for x, _ in inside]), np.mean([x for _, x in inside])
            total += len(inside) / len(true) * abs(came - given)
    return total


def with_ties(predictions: Predictions, seed: int) -> Predictions:
    """Return predictions of few different probabilities, some of them 0 and 1."""
    rough = np.round(predictions.probabilities * (3 + seed)) + 1e-9
    rough = (rough / rough.sum(axis=1, keepdims=True)).astype(np.float32)
    return dataclasses.replace(predictions, probabilities=rough)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_several_classes_agree_with_scikit_learn(make_predictions, seed, tied):
    predictions = make_predictions(FOUR, seed=seed, count=60 + 40 * seed)
    predictions = with_ties(predictions, seed) if tied else predictions
    labels, guessed, normalised = arrays(predictions)
    probabilities = predictions.probabilities.astype(np.float64)
    one_hot = np.eye(4)[labels]
    chosen = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1)
    expected = {
        "accuracy": peer.accuracy_score(labels, guessed),
        "balanced_accuracy": peer.balanced_accuracy_score(labels, guessed),
        **expected_macro(labels, guessed, 4),
        "roc_auc": peer.roc_auc_score(one_hot, probabilities),
        "average_precision": peer.average_precision_score(one_hot, probabilities),
        "mcc": peer.matthews_corrcoef(labels, guessed),
        "cohen_kappa": peer.cohen_kappa_score(labels, guessed),
        "brier": peer.brier_score_loss(labels, normalised),
        "log_loss": -np.log(chosen).mean(),
        "calibration_error": calibration_error(labels == guessed, probabilities.max(axis=1)),
    }
    found = evaluate(predictions, source="test", rounds=2)
    assert list(found.metrics) == list(expected)
    assert dict(found.metrics) == pytest.approx(expected, abs=1e-6)
    for index, scores in enumerate(found.classes):
        own = expected_of_class(labels == index, guessed == index, probabilities[:, index])
        assert dict(scores.metrics) == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_two_classes_agree_with_scikit_learn(make_predictions, seed, tied):
    predictions = make_predictions(TWO, seed=seed, count=40 + 30 * seed)
    predictions = with_ties(predictions, seed) if tied else predictions
    labels, guessed, _ = arrays(predictions)
    probabilities = predictions.probabilities.astype(np.float64)
    expected = expected_of_class(labels == 1, guessed == 1, probabilities[:, 1])
    expected |= expected_macro(labels, guessed, 2)
    expected["calibration_error"] = calibration_error(labels == guessed, probabilities.max(axis=1))
    found = evaluate(predictions, source="test", rounds=2)
    assert dict(found.metrics) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_class_without_records_is_counted_as_scikit_learn_does(make_predictions, seed):
    rng = np.random.default_rng(seed)
    predictions = make_predictions(FOUR, labels=rng.choice(["a", "b", "d"], 90).tolist(), seed=seed)
    labels, guessed, _ = arrays(predictions)
    assert 2 in guessed
    found = evaluate(predictions, source="test", rounds=2)
    expected = expected_macro(labels, guessed, 4) | {
        "mcc": peer.matthews_corrcoef(labels, guessed),
        "cohen_kappa": peer.cohen_kappa_score(labels, guessed),
        "brier": peer.brier_score_loss(labels, arrays(predictions)[2], labels=[0, 1, 2, 3]),
    }
    assert {name: found.metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_the_log_loss_agrees_with_scikit_learn(make_predictions):
    predictions = make_predictions(FOUR)
    labels, _, probabilities = arrays(predictions)
    found = evaluate(predictions, source="test", rounds=2).metrics["log_loss"]
    assert found == pytest.approx(peer.log_loss(labels, probabilities), abs=1e-6)


def test_counts_follow_the_decision_and_ranks_do_not(make_predictions):
    predictions = make_predictions(TWO)
    rule = Decision(kind="threshold", class_index=1, threshold=0.2)
    found = evaluate(dataclasses.replace(predictions, decision=rule), source="test", rounds=2)
    labels, _, probabilities = arrays(predictions)
    called = predictions.probabilities[:, 1] >= np.float32(0.2)
    assert found.metrics["recall"] == peer.recall_score(labels, called)
    assert found.metrics["roc_auc"] == pytest.approx(
        peer.roc_auc_score(labels, probabilities[:, 1])
    )
    assert found.decision == rule


@pytest.mark.parametrize("classes", [TWO, FOUR])
@pytest.mark.parametrize("baseline", ["majority", "prior"])
def test_the_baselines_are_those_of_scikit_learn(make_predictions, classes, baseline):
    predictions = make_predictions(classes, count=151)
    labels, _, _ = arrays(predictions)
    strategy = {"majority": "most_frequent", "prior": "prior"}[baseline]
    dummy = DummyClassifier(strategy=strategy).fit(labels[:, np.newaxis], labels)
    guessed = dummy.predict(labels[:, np.newaxis])
    probabilities = dummy.predict_proba(labels[:, np.newaxis])
    own = Predictions.make(
        class_names=classes,
        record_ids=[str(row) for row in range(len(labels))],
        labels=predictions.table["label"].to_list(),
        probabilities=probabilities.astype(np.float32),
    )
    found = evaluate(predictions, source="test", rounds=2).baselines[baseline]
    np.testing.assert_array_equal(own.predicted_indices(), guessed)
    assert found == pytest.approx(evaluate(own, source="test", rounds=2).metrics)
    assert found["accuracy"] == pytest.approx(np.bincount(labels).max() / len(labels))


def test_baselines_go_by_the_classes_that_were_learned_from(make_predictions):
    predictions = make_predictions(TWO, labels=["healthy"] * 30 + ["ill"] * 70)
    shares = np.asarray([0.9, 0.1])
    found = evaluate(predictions, source="test", class_shares=shares, rounds=2).baselines
    assert found["majority"]["accuracy"] == pytest.approx(0.3)
    assert found["prior"]["brier"] == pytest.approx(0.3 * 0.01 + 0.7 * 0.81, abs=1e-6)


def test_shares_of_other_classes_are_refused(make_predictions):
    with pytest.raises(ValueError, match=r"class_shares must be \(2,\), not negative, got \[1"):
        evaluate(make_predictions(TWO), source="test", class_shares=np.ones(3), rounds=2)


def test_a_single_resample_is_refused(make_predictions):
    with pytest.raises(ValueError, match="rounds must be 2 or more, got 1"):
        evaluate(make_predictions(TWO), source="test", rounds=1)


def test_answers_of_one_class_agree_with_nothing_beyond_chance(make_predictions):
    sure = np.tile(np.asarray([[0.9, 0.1]], np.float32), (40, 1))
    predictions = dataclasses.replace(make_predictions(TWO, count=40), probabilities=sure)
    metrics = evaluate(predictions, source="test", rounds=2).metrics
    assert (metrics["mcc"], metrics["cohen_kappa"]) == (0, 0)


def test_agreement_is_not_defined_where_there_is_one_class_alone(make_predictions):
    sure = np.tile(np.asarray([[0.1, 0.9]], np.float32), (9, 1))
    alone = dataclasses.replace(make_predictions(TWO, labels=["ill"] * 9), probabilities=sure)
    metrics = evaluate(alone, source="test", rounds=2).metrics
    assert (metrics["mcc"], metrics["cohen_kappa"]) == (None, None)


def test_the_confusion_matrix_agrees_with_scikit_learn(make_predictions):
    predictions = make_predictions(FOUR)
    labels, guessed, _ = arrays(predictions)
    found = evaluate(predictions, source="test", rounds=2).confusion
    np.testing.assert_array_equal(found, peer.confusion_matrix(labels, guessed))


def test_records_without_a_label_are_left_out(make_predictions):
    found = evaluate(
        make_predictions(TWO, labels=["healthy", None, "ill", None]), source="test", rounds=2
    )
    assert (found.count, found.confusion.sum(), found.unreadable) == (2, 2, 0)


def test_unreadable_records_are_left_out_and_counted(make_predictions):
    predictions = make_predictions(
        TWO, labels=["healthy", "ill", "ill", "ill"], reasons=[None, None, "TRUNCATED", "EMPTY"]
    )
    found = evaluate(predictions, source="test", rounds=2)
    assert (found.count, found.unreadable) == (2, 2)


def test_a_class_without_records_has_no_recall_and_no_area(make_predictions):
    predictions = make_predictions(("a", "b", "never"), labels=["a", "b"] * 20)
    scores = evaluate(predictions, source="test", rounds=2).classes[2]
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
    metrics = evaluate(make_predictions(TWO, labels=["ill"] * 9), source="test", rounds=2).metrics
    assert (metrics["roc_auc"], metrics["average_precision"]) == (None, None)


def test_a_class_never_predicted_has_no_precision(make_predictions):
    predictions = Predictions.make(
        class_names=TWO,
        record_ids=["1", "2"],
        labels=["healthy", "ill"],
        probabilities=np.asarray([[0.9, 0.1], [0.8, 0.2]], np.float32),
    )
    assert evaluate(predictions, source="test", rounds=2).metrics["precision"] is None


def test_the_evaluation_says_which_weights_and_epoch_it_is_about(make_predictions):
    found = evaluate(make_predictions(epoch=7), source="validation", rounds=2)
    assert (found.source, found.weights, found.epoch) == ("validation", "best", 7)


def test_the_evaluation_survives_json(make_predictions):
    found = evaluate(
        make_predictions(("a", "b", "never"), labels=["a", "b"]), source="test", rounds=2
    )
    again = Evaluation.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()


def test_nothing_to_judge_is_refused(make_predictions):
    with pytest.raises(DataError, match="none of the 2 records has both a label and a readable"):
        evaluate(make_predictions(labels=[None, None]), source="test", rounds=2)


def test_a_label_the_model_does_not_know_is_refused(make_predictions):
    with pytest.raises(DataError, match=r"record '0001.png' has label 'zebra'"):
        evaluate(make_predictions(labels=["a", "zebra"]), source="test", rounds=2)


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


NAMES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc")


@pytest.mark.parametrize("classes", [TWO, FOUR])
def test_an_epoch_is_told_the_scores_of_evaluation(make_predictions, classes):
    predictions = make_predictions(classes)
    labels, _, _ = arrays(predictions)
    found = validation_scores(predictions.probabilities, labels, NAMES)
    judged = evaluate(predictions, source="validation", rounds=2).metrics
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

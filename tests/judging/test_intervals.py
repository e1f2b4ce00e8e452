"""Intervals beside every figure, and where there are too few records to say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sightline.judging.evaluation import evaluate
from sightline.judging.evaluation.resampling import wilson
from sightline.records import Evaluation, Predictions

TWO = ("healthy", "ill")


def judged(predictions: Predictions, rounds: int = 200) -> Evaluation:
    return evaluate(predictions, source="test", rounds=rounds)


def grouped(predictions: Predictions, groups: list[str | None]) -> Predictions:
    """Return the predictions with other groups."""
    return Predictions.make(
        class_names=predictions.class_names,
        record_ids=predictions.table["record_id"].to_list(),
        labels=predictions.table["label"].to_list(),
        groups=groups,
        probabilities=predictions.probabilities,
    )


@pytest.fixture(scope="module")
def plenty(make_predictions) -> Evaluation:
    return judged(make_predictions(("a", "b", "c"), count=400))


def test_every_figure_that_is_defined_has_an_interval_around_it(plenty):
    parts = [(plenty.metrics, plenty.intervals)]
    parts += [(scores.metrics, scores.intervals) for scores in plenty.classes]
    for metrics, intervals in parts:
        assert list(intervals) == list(metrics)
        for name, interval in intervals.items():
            assert interval.value == pytest.approx(metrics[name])
            assert interval.low <= interval.value <= interval.high
            assert interval.low < interval.high


def test_the_same_predictions_give_the_same_intervals(make_predictions, plenty):
    again = judged(make_predictions(("a", "b", "c"), count=400))
    assert again.to_dict() == plenty.to_dict()


def test_the_interval_of_an_accuracy_is_about_that_of_the_binomial(make_predictions):
    found = judged(make_predictions(TWO, count=1000), rounds=1000).intervals["accuracy"]
    low, high = wilson(found.value, 1000)
    assert found.high - found.low == pytest.approx(high - low, rel=0.1)


def test_a_recall_of_independent_images_has_wilsons_interval(make_predictions):
    found = judged(make_predictions(TWO, labels=["healthy"] * 200 + ["ill"] * 12))
    low, high = wilson(found.metrics["recall"], 12)
    assert (found.intervals["recall"].low, found.intervals["recall"].high) == (low, high)


def test_a_class_of_12_images_is_too_few_to_say(make_predictions):
    found = judged(make_predictions(("a", "b", "c"), labels=["a"] * 99 + ["b"] * 99 + ["c"] * 12))
    scores = found.classes[2].intervals["f1"]
    assert (scores.low, scores.high) == (None, None)
    assert scores.note == "too few to say: 12 images, 30 are needed"


def test_a_mean_over_the_classes_rests_on_the_smallest(make_predictions):
    found = judged(make_predictions(("a", "b", "c"), labels=["a"] * 99 + ["b"] * 99 + ["c"] * 12))
    assert found.intervals["macro_f1"].note == "too few to say: 12 images of c, 30 are needed"
    assert found.intervals["accuracy"].low is not None


def test_a_class_without_records_forbids_no_interval(make_predictions):
    labels = ["a", "b"] * 60
    found = judged(make_predictions(("a", "b", "never"), labels=labels))
    assert found.intervals["roc_auc"].low is not None


def test_a_class_that_nearly_all_images_are_of_is_too_few_others(make_predictions):
    found = judged(make_predictions(TWO, labels=["healthy"] * 12 + ["ill"] * 200))
    expected = "too few to say: 12 images of other classes, 30 are needed"
    assert found.classes[1].intervals["precision"].note == expected


def test_a_class_seldom_answered_is_too_few_to_say(make_predictions):
    predictions = make_predictions(TWO, labels=["healthy"] * 100 + ["ill"] * 40)
    rare = np.full((140, 2), [0.9, 0.1], np.float32)
    rare[-4:] = [0.1, 0.9]
    found = judged(dataclasses.replace(predictions, probabilities=rare))
    expected = "too few to say: 4 images were called ill, 10 are needed"
    assert found.classes[1].intervals["precision"].note == expected


def test_few_images_are_too_few_for_any_figure(make_predictions):
    found = judged(make_predictions(TWO, count=20))
    assert found.intervals["log_loss"].note == "too few to say: 20 images, 30 are needed"


def test_groups_make_a_figure_less_sure(make_predictions):
    labels = np.repeat(["healthy", "ill"], 200).tolist()
    alone = make_predictions(TWO, labels=labels)
    repeated = dataclasses.replace(
        alone, probabilities=np.repeat(alone.probabilities[::10], 10, axis=0)
    )
    together = grouped(repeated, [f"{row // 10}" for row in range(400)])
    found, apart = judged(together), judged(repeated)
    assert (found.groups, apart.groups) == (40, 0)
    for name in ("accuracy", "recall", "roc_auc", "log_loss"):
        wide, narrow = found.intervals[name], apart.intervals[name]
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_groups_of_one_image_each_are_images(make_predictions):
    predictions = make_predictions(TWO, count=200)
    alone = grouped(predictions, [f"{row}" for row in range(200)])
    assert judged(alone).groups == 0
    assert judged(alone).intervals == judged(predictions).intervals


def test_five_groups_of_a_class_are_too_few_to_say(make_predictions):
    labels = np.repeat(["healthy", "ill"], [200, 50]).tolist()
    found = judged(
        grouped(make_predictions(TWO, labels=labels), [f"{r // 10}" for r in range(250)])
    )
    assert found.classes[1].intervals["recall"].note == "too few to say: 5 groups, 10 are needed"


def test_a_perfect_model_is_not_sure_to_be_perfect(make_predictions):
    sure = np.repeat(np.asarray([[0.9, 0.1], [0.1, 0.9]], np.float32), 50, axis=0)
    labels = np.repeat(["healthy", "ill"], 50).tolist()
    found = judged(dataclasses.replace(make_predictions(TWO, labels=labels), probabilities=sure))
    for name in ("accuracy", "balanced_accuracy", "f1", "roc_auc", "average_precision", "mcc"):
        assert found.intervals[name].low < 0.98
        assert found.intervals[name].high == 1


def test_a_calibrated_model_may_have_no_calibration_error():
    rng = np.random.default_rng(0)
    chance = rng.random(400)
    predictions = Predictions.make(
        class_names=TWO,
        record_ids=[""] * 400,
        labels=np.where(rng.random(400) < chance, "ill", "healthy").tolist(),
        probabilities=np.stack([1 - chance, chance], axis=1).astype(np.float32),
    )
    found = judged(predictions).intervals["calibration_error"]
    assert (found.low, found.value > 0.02) == (0, True)


def test_an_overconfident_model_has_a_calibration_error_for_certain(make_predictions):
    predictions = make_predictions(TWO, count=600)
    logits = np.log(predictions.probabilities) * 6
    sharp = np.exp(logits - logits.max(axis=1, keepdims=True))
    sharp = (sharp / sharp.sum(axis=1, keepdims=True)).astype(np.float32)
    found = judged(dataclasses.replace(predictions, probabilities=sharp))
    assert found.intervals["calibration_error"].low > 0.05


def test_a_model_that_is_certain_and_right_may_have_a_calibration_error(make_predictions):
    sure = np.repeat(np.asarray([[1, 0], [0, 1]], np.float32), 50, axis=0)
    labels = np.repeat(["healthy", "ill"], 50).tolist()
    found = judged(dataclasses.replace(make_predictions(TWO, labels=labels), probabilities=sure))
    interval = found.intervals["calibration_error"]
    assert (interval.value, interval.low) == (0, 0)
    assert 0.01 < interval.high < 0.1


def test_a_single_record_has_figures_and_too_few_to_say():
    alone = Predictions.make(
        class_names=TWO,
        record_ids=["a"],
        labels=["ill"],
        probabilities=np.asarray([[0.2, 0.8]], np.float32),
    )
    found = judged(alone)
    assert found.metrics["accuracy"] == 1.0
    assert found.intervals["accuracy"].low is None
    assert found.intervals["accuracy"].note.startswith("too few to say")


def answered(make_predictions, rows, names=TWO) -> Evaluation:
    """Return the evaluation of (label, answer, count) records that are alike but for these."""
    labels = [label for label, _, count in rows for _ in range(count)]
    answers = [names.index(answer) for _, answer, count in rows for _ in range(count)]
    noise = np.random.default_rng(0).uniform(0, 0.1, (len(labels), len(names)))
    shares = np.eye(len(names))[answers] + noise
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    predictions = make_predictions(names, labels=labels)
    return judged(dataclasses.replace(predictions, probabilities=shares))


def test_a_model_of_one_answer_has_an_accuracy_that_is_not_certain(make_predictions):
    rows = [("healthy", "healthy", 140), ("ill", "healthy", 60)]
    found = answered(make_predictions, rows).intervals
    for name, value in (("accuracy", 0.7), ("macro_recall", 0.5), ("macro_specificity", 0.5)):
        interval = found[name]
        assert interval.value == pytest.approx(value)
        assert 0.005 < value - interval.low < 0.03
        assert 0.005 < interval.high - value < 0.03


def test_a_class_that_is_all_right_makes_the_mean_of_the_recalls_less_sure(make_predictions):
    """The other recall alone would leave 0.49 to 0.51 or so: as if the first were known."""
    rows = [("healthy", "healthy", 140), ("ill", "ill", 15), ("ill", "healthy", 45)]
    some = answered(make_predictions, rows).intervals["balanced_accuracy"]
    rows = [("healthy", "healthy", 14000), ("ill", "ill", 15), ("ill", "healthy", 45)]
    sure = answered(make_predictions, rows).intervals["balanced_accuracy"]
    assert some.high - some.low > sure.high - sure.low


@pytest.mark.parametrize("answer", TWO)
def test_agreement_with_one_answer_is_too_few_to_say(make_predictions, answer):
    other = TWO[1 - TWO.index(answer)]
    rows = [("healthy", answer, 100), ("ill", answer, 96), ("ill", other, 4)]
    found = answered(make_predictions, rows)
    for part in (found.intervals, *(scores.intervals for scores in found.classes)):
        for name in ("mcc", "cohen_kappa"):
            assert part[name].note.startswith("too few to say: 4 images were called ")


def test_of_many_classes_agreement_with_one_answer_is_too_few_to_say(make_predictions):
    names = ("a", "b", "c")
    found = answered(make_predictions, [(name, "b", 40) for name in names], names)
    expected = "too few to say: 0 images were called anything but b, 10 are needed"
    assert found.intervals["mcc"].note == expected
    assert 0 < found.intervals["accuracy"].low < 1 / 3 < found.intervals["accuracy"].high < 0.4


def test_a_figure_without_any_spread_has_no_interval(make_predictions):
    predictions = make_predictions(TWO, labels=["healthy"] * 140 + ["ill"] * 60)
    same = np.full((200, 2), [0.7, 0.3], np.float32)
    found = judged(dataclasses.replace(predictions, probabilities=same)).intervals
    for name in ("roc_auc", "average_precision", "brier", "log_loss", "calibration_error"):
        assert found[name].low is None
        assert found[name].note == "too few to say: it is the same in every resample"


def test_a_thousand_classes_of_few_images_are_judged_without_measuring_each(make_predictions):
    names = [f"c{index:04d}" for index in range(1000)]
    found = judged(make_predictions(names, labels=names * 3), rounds=100)
    assert found.intervals["accuracy"].low < found.metrics["accuracy"]
    assert found.classes[7].intervals["roc_auc"].note == "too few to say: 3 images, 30 are needed"

"""The figures with and without leaked images."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.judging import evaluation
from sightline.judging.evaluation.leakage import leak_effect
from sightline.records import Predictions


def predictions_of(correct: np.ndarray) -> Predictions:
    """Two classes in turn; each record is right, and sure of it by 0.9, where `correct` says so."""
    labels = np.arange(len(correct)) % 2
    predicted = np.where(correct, labels, 1 - labels)
    probabilities = np.full((len(correct), 2), 0.1, np.float32)
    probabilities[np.arange(len(correct)), predicted] = 0.9
    return Predictions.make(
        class_names=("a", "b"),
        record_ids=[f"{row:04d}" for row in range(len(correct))],
        probabilities=probabilities,
        labels=[("a", "b")[label] for label in labels],
    )


@pytest.fixture
def leaking() -> tuple[Predictions, np.ndarray]:
    """400 records: the first 100 are leaked and all right, of the others 60 % are."""
    correct = np.ones(400, bool)
    correct[100:] = np.random.default_rng(0).random(300) < 0.6
    return predictions_of(correct), np.arange(400) < 100


def test_leaked_images_make_the_accuracy_look_better(
    leaking: tuple[Predictions, np.ndarray],
) -> None:
    predictions, leaked = leaking
    effect = leak_effect(predictions, leaked, np.arange(400))
    assert (effect.count, effect.leaked) == (400, 100)
    assert effect.whole["accuracy"].value > effect.clean["accuracy"].value + 0.05


def test_values_are_those_of_the_evaluation(leaking: tuple[Predictions, np.ndarray]) -> None:
    predictions, leaked = leaking
    whole = leak_effect(predictions, leaked, np.arange(400)).whole
    metrics = evaluation.evaluate(predictions, source="test").metrics
    assert {name: interval.value for name, interval in whole.items()} == pytest.approx(
        {name: metrics[name] for name in whole}
    )


def test_the_interval_of_an_accuracy_is_about_that_of_the_binomial(
    leaking: tuple[Predictions, np.ndarray],
) -> None:
    accuracy = leak_effect(leaking[0], leaking[1], np.arange(400)).clean["accuracy"]
    expected = 1.96 * np.sqrt(accuracy.value * (1 - accuracy.value) / 300)
    assert (accuracy.high - accuracy.low) / 2 == pytest.approx(expected, rel=0.1)


def test_images_of_few_patients_make_a_figure_less_sure(
    leaking: tuple[Predictions, np.ndarray],
) -> None:
    """Each patient's ten images are right or wrong together."""
    correct = np.repeat(np.random.default_rng(1).random(40) < 0.7, 10)
    predictions, none = predictions_of(correct), np.zeros(400, bool)
    alone = leak_effect(predictions, none, np.arange(400)).whole["accuracy"]
    together = leak_effect(predictions, none, np.arange(400) // 10).whole["accuracy"]
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_nothing_is_left_where_every_image_is_leaked() -> None:
    predictions = predictions_of(np.ones(6, bool))
    effect = leak_effect(predictions, np.ones(6, bool), np.arange(6))
    assert effect.clean == {}
    assert effect.whole["accuracy"].value == 1


def test_the_same_predictions_give_the_same_intervals(
    leaking: tuple[Predictions, np.ndarray],
) -> None:
    predictions, leaked = leaking
    units = np.arange(400)
    assert leak_effect(predictions, leaked, units) == leak_effect(predictions, leaked, units)


def test_arrays_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must both be \(4,\), got \(3,\) and \(4,\)"):
        leak_effect(predictions_of(np.ones(4, bool)), np.zeros(3, bool), np.arange(4))


def test_few_clean_images_are_too_few_to_say() -> None:
    effect = leak_effect(predictions_of(np.ones(60, bool)), np.arange(60) < 40, np.arange(60))
    assert effect.whole["accuracy"].low is not None
    assert effect.clean["accuracy"].note == "too few to say: 20 images, 30 are needed"

"""What is optimised, and what a step counts, against Keras' own losses and our evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from tiny import small_recipe

from sightline.data.stream.loader import one_hot
from sightline.judging import evaluation
from sightline.learning.models import networks
from sightline.learning.training.objective import StepTally, class_weights, compile_model

COUNTS = {2: np.asarray([30, 10]), 3: np.asarray([10, 20, 70])}


def compiled(
    num_classes: int, weights: npt.NDArray[np.float32] | None = None, **changes: Any
) -> keras.Model:
    recipe = small_recipe(**changes)
    model = networks.build(recipe, num_classes)
    compile_model(model, recipe, num_classes, weights)
    return model


def some_outputs(
    num_classes: int, count: int = 40
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return labels, targets as a stream gives them, and outputs as a network gives them."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, num_classes, count).astype(np.int32)
    probabilities = rng.dirichlet(np.ones(num_classes), count).astype(np.float32)
    outputs = probabilities[:, 1:] if num_classes == 2 else probabilities
    return labels, one_hot(labels, num_classes), outputs


def in_full(outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_two_classes_have_the_binary_cross_entropy_of_keras(smoothing: float) -> None:
    _, targets, outputs = some_outputs(2)
    ours = compiled(2, train__label_smoothing=smoothing).loss(targets, outputs)
    theirs = keras.losses.binary_crossentropy(targets[:, None], outputs, label_smoothing=smoothing)
    assert np.asarray(ours) == pytest.approx(np.asarray(theirs))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_several_classes_have_the_categorical_cross_entropy_of_keras(smoothing: float) -> None:
    _, targets, outputs = some_outputs(3)
    ours = compiled(3, train__label_smoothing=smoothing).loss(targets, outputs)
    theirs = keras.losses.categorical_crossentropy(targets, outputs, label_smoothing=smoothing)
    assert np.asarray(ours) == pytest.approx(np.asarray(theirs))


def test_the_mean_objective_is_the_plain_cross_entropy_without_weights_and_smoothing() -> None:
    labels, targets, outputs = some_outputs(3)
    mean = float(np.mean(np.asarray(compiled(3).loss(targets, outputs))))
    assert mean == pytest.approx(evaluation.cross_entropy(outputs, labels), rel=1e-5)


def test_class_weights_are_total_over_classes_times_count() -> None:
    assert class_weights(COUNTS[3]) == pytest.approx([100 / 30, 100 / 60, 100 / 210])


@pytest.mark.parametrize("num_classes", [2, 3])
def test_class_weights_multiply_the_loss_of_each_record(num_classes: int) -> None:
    labels, targets, outputs = some_outputs(num_classes)
    weights = class_weights(COUNTS[num_classes])
    plain = np.asarray(compiled(num_classes).loss(targets, outputs))
    weighted = np.asarray(compiled(num_classes, weights).loss(targets, outputs))
    assert weighted == pytest.approx(plain * weights[labels])


def test_class_weights_multiply_a_smoothed_loss_by_the_true_class() -> None:
    labels, targets, outputs = some_outputs(3)
    weights = class_weights(COUNTS[3])
    plain = np.asarray(compiled(3, train__label_smoothing=0.1).loss(targets, outputs))
    weighted = compiled(3, weights, train__label_smoothing=0.1).loss(targets, outputs)
    assert np.asarray(weighted) == pytest.approx(plain * weights[labels])


def tallied(
    num_classes: int, weights: Sequence[float] | None = None, steps: int = 1
) -> tuple[npt.NDArray[np.int64], float]:
    """Return the confusion matrix and summed entropy that the metric counts in `steps` steps."""
    _, targets, outputs = some_outputs(num_classes)
    tally = StepTally(num_classes)
    given = None if weights is None else np.asarray(weights, np.float32)
    for part in np.array_split(np.arange(len(targets)), steps):
        tally.update_state(targets[part], outputs[part], None if given is None else given[part])
    result = tally.result()
    confusion = np.asarray(result["confusion"]).reshape(num_classes, num_classes)
    return confusion.astype(np.int64), float(result["entropy"])


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_step_counts_the_confusion_matrix_of_evaluation(num_classes: int) -> None:
    labels, _, outputs = some_outputs(num_classes)
    expected = evaluation.confusion_matrix(labels, in_full(outputs).argmax(axis=1), num_classes)
    assert tallied(num_classes)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_step_sums_the_plain_cross_entropy_of_evaluation(num_classes: int) -> None:
    labels, _, outputs = some_outputs(num_classes)
    expected = evaluation.cross_entropy(in_full(outputs), labels) * len(labels)
    assert tallied(num_classes)[1] == pytest.approx(expected, rel=1e-5)


def test_several_updates_count_as_one() -> None:
    in_three, at_once = tallied(3, steps=3), tallied(3)
    assert in_three[0].tolist() == at_once[0].tolist()
    assert in_three[1] == pytest.approx(at_once[1])


def test_records_of_weight_zero_are_not_counted() -> None:
    labels, _, outputs = some_outputs(3)
    weights = [0.0 if row % 4 == 0 else 1.0 for row in range(len(labels))]
    kept = np.asarray(weights) > 0
    confusion, entropy = tallied(3, weights)
    expected = evaluation.confusion_matrix(labels[kept], outputs[kept].argmax(axis=1), 3)
    assert confusion.tolist() == expected.tolist()
    assert entropy == pytest.approx(
        evaluation.cross_entropy(outputs[kept], labels[kept]) * kept.sum(), rel=1e-5
    )


def test_a_record_of_a_larger_weight_is_counted_once() -> None:
    assert tallied(3, [5.0] * 40)[0].sum() == 40


def test_a_certain_mistake_costs_what_evaluation_says() -> None:
    tally = StepTally(2)
    tally.update_state(np.asarray([1.0], np.float32), np.asarray([[0.0]], np.float32))
    expected = evaluation.cross_entropy(np.asarray([[1.0, 0.0]], np.float32), np.asarray([1]))
    assert float(tally.result()["entropy"]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("word", "kind"),
    [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW"), ("rmsprop", "RMSprop")],
)
def test_the_optimizer_is_the_one_of_the_recipe(word: str, kind: str) -> None:
    optimizer = compiled(2, train__optimizer=word, train__learning_rate=0.25).optimizer
    assert (type(optimizer).__name__, float(optimizer.learning_rate)) == (kind, 0.25)


def test_weight_decay_shrinks_kernels_and_leaves_biases_alone() -> None:
    model = compiled(2, train__optimizer="adamw", train__weight_decay=0.5, train__learning_rate=0.1)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones_like(variable))
    model.optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables])
    left = {v.name: float(keras.ops.max(v)) for v in model.trainable_variables}
    assert left == pytest.approx({"kernel": 0.95, "bias": 1.0})

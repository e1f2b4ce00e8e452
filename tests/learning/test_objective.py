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
from sightline.learning.training import variables
from sightline.learning.training.objective import StepTally, bins, class_weights, compile_model

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


def focused(
    targets: npt.NDArray[np.float32],
    outputs: npt.NDArray[np.float32],
    *,
    gamma: float,
    smoothing: float = 0.0,
    weights: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the focal loss of each record, from shares (N, K) and probabilities (N, K)."""
    count = targets.shape[1]
    smoothed = targets * (1 - smoothing) + smoothing / count
    entropy = -(smoothed * np.log(outputs.astype(np.float64))).sum(axis=1)
    weighed = 1.0 if weights is None else (targets * weights).sum(axis=1)
    return weighed * (1 - (targets * outputs).sum(axis=1)) ** gamma * entropy


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_is_the_formula_of_its_paper_for_each_record(
    num_classes: int, weighed: bool, smoothing: float
) -> None:
    labels, targets, outputs = some_outputs(num_classes)
    weights = class_weights(COUNTS[num_classes]) if weighed else None
    changes = {"balance__focal_gamma": 2.0, "train__label_smoothing": smoothing}
    ours = compiled(num_classes, weights, **changes).loss(targets, outputs)
    shares = np.eye(num_classes, dtype=np.float32)[labels]
    expected = focused(shares, in_full(outputs), gamma=2.0, smoothing=smoothing, weights=weights)
    assert np.asarray(ours) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_focal_loss_of_two_classes_is_that_of_keras() -> None:
    _, targets, outputs = some_outputs(2)
    ours = compiled(2, balance__focal_gamma=1.5).loss(targets, outputs)
    theirs = keras.losses.binary_focal_crossentropy(targets[:, None], outputs, gamma=1.5)
    assert np.asarray(ours) == pytest.approx(np.asarray(theirs), rel=1e-4, abs=1e-6)


def test_focal_loss_of_a_mixed_target_goes_by_what_its_shares_were_given() -> None:
    targets = np.asarray([[0.3, 0.7, 0.0]], np.float32)
    outputs = np.asarray([[0.2, 0.5, 0.3]], np.float32)
    ours = compiled(3, balance__focal_gamma=2.0).loss(targets, outputs)
    entropy = -0.3 * np.log(0.2) - 0.7 * np.log(0.5)
    assert np.asarray(ours) == pytest.approx((1 - 0.06 - 0.35) ** 2 * entropy)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_gamma_of_zero_is_plain_cross_entropy_to_the_last_bit(num_classes: int) -> None:
    _, targets, outputs = some_outputs(num_classes)
    plain = compiled(num_classes).loss(targets, outputs)
    assert np.array_equal(
        compiled(num_classes, balance__focal_gamma=0.0).loss(targets, outputs), plain
    )


def test_a_record_that_is_certainly_right_has_a_finite_slope_under_focal_loss() -> None:
    model = compiled(2, balance__focal_gamma=0.5, train__optimizer="sgd")
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones_like(variable))  # the output is 1
    images = np.ones((2, *model.input_shape[1:]), np.float32)
    model.train_on_batch(images, np.ones(2, np.float32))
    assert all(np.isfinite(np.asarray(each)).all() for each in model.trainable_variables)


def test_two_units_for_two_classes_cost_and_count_what_one_unit_does() -> None:
    labels, targets, outputs = some_outputs(2)
    changes = {"balance__focal_gamma": 2.0, "train__label_smoothing": 0.1}
    loss = compiled(2, class_weights(COUNTS[2]), **changes).loss
    assert np.asarray(loss(targets, in_full(outputs))) == pytest.approx(
        np.asarray(loss(targets, outputs)), rel=1e-4
    )
    counted = StepTally(2, areas=True)
    counted.update_state(targets, in_full(outputs))
    one = StepTally(2, areas=True)
    one.update_state(targets, outputs)
    for name, value in one.result().items():
        assert np.asarray(counted.result()[name]) == pytest.approx(np.asarray(value))
    assert np.asarray(one.confusion).sum() == len(labels)


def test_what_regularizers_cost_is_in_the_objective_and_not_in_the_entropy() -> None:
    inputs = keras.Input((4,))
    regularizer = keras.regularizers.L1L2(l1=0.01, l2=0.1)
    outputs = keras.layers.Dense(3, "softmax", kernel_regularizer=regularizer)(inputs)
    model = keras.Model(inputs, outputs)
    compile_model(model, small_recipe(train__learning_rate=1e-12), 3, None)
    kernel = np.asarray(model.layers[-1].kernel)
    rows = np.random.default_rng(3).random((8, 4), np.float32)
    targets = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    logs = model.train_on_batch(rows, targets, return_dict=True)
    extra = 0.01 * np.abs(kernel).sum() + 0.1 * (kernel**2).sum()
    assert logs["loss"] == pytest.approx(logs["entropy"] / 8 + extra, rel=1e-5)


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
    ("target", "cell"), [(0.7, [0, 0, 0, 1]), (0.3, [0, 1, 0, 0]), (0.5, [0, 1, 0, 0])]
)
def test_a_mixed_target_of_two_classes_counts_under_its_larger_share(
    target: float, cell: list[int]
) -> None:
    tally = StepTally(2)
    tally.update_state(np.asarray([target], np.float32), np.asarray([[0.8]], np.float32))
    assert np.asarray(tally.confusion).tolist() == cell


def test_a_mixed_target_of_several_classes_counts_under_its_largest_share() -> None:
    tally = StepTally(3)
    targets = np.asarray([[0.3, 0.7, 0.0], [0.5, 0.0, 0.5]], np.float32)
    tally.update_state(targets, np.asarray([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]], np.float32))
    confusion = np.asarray(tally.confusion).reshape(3, 3)
    assert confusion.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    entropy = -np.log(0.5) - np.log(0.1)
    assert float(tally.result()["entropy"]) == pytest.approx(entropy)


def rare(
    num_classes: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return labels, targets and outputs of 4,000 records, nearly all of the first class."""
    rng = np.random.default_rng(7)
    labels = np.where(rng.random(4000) < 0.95, 0, rng.integers(0, num_classes, 4000))
    odds = rng.normal(0, 1.5, (4000, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    odds[:, 0] += 5
    probabilities = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    outputs = probabilities[:, 1:] if num_classes == 2 else probabilities
    return labels, one_hot(labels.astype(np.int32), num_classes), outputs.astype(np.float32)


def ranked(tally: StepTally, num_classes: int) -> npt.NDArray[np.int64]:
    counts = np.asarray(tally.result()["ranks"])
    return counts.astype(np.int64).reshape(len(evaluation.ranked(num_classes)), 2, -1)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_area_of_the_bins_is_within_a_thousandth_of_that_of_evaluation(
    num_classes: int,
) -> None:
    labels, targets, outputs = rare(num_classes)
    tally = StepTally(num_classes, areas=True)
    tally.update_state(targets, outputs)
    exact = evaluation.validation_scores(in_full(outputs), labels, ["auc"])["auc"]
    assert evaluation.area_from_counts(ranked(tally, num_classes)) == pytest.approx(exact, abs=1e-3)


def test_many_classes_are_counted_in_fewer_bins_and_their_area_is_still_near() -> None:
    labels, targets, outputs = rare(600)
    tally = StepTally(600, areas=True)
    tally.update_state(targets, outputs)
    counted = ranked(tally, 600)
    assert counted.size == 600 * 2 * 128
    exact = evaluation.validation_scores(outputs, labels, ["auc"])["auc"]
    assert evaluation.area_from_counts(counted) == pytest.approx(exact, abs=2e-3)


def test_the_tally_of_many_classes_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 700, (2, 64))
    tally = StepTally(700)
    tally.update_state(
        np.eye(700, dtype=np.float32)[labels], np.eye(700, dtype=np.float32)[predicted]
    )
    wanted = np.zeros((700, 700))
    np.add.at(wanted, (labels, predicted), 1)
    assert np.array_equal(np.reshape(tally.result()["confusion"], (700, 700)), wanted)


def test_records_of_weight_zero_are_in_no_bin() -> None:
    _, targets, outputs = rare(3)
    tally = StepTally(3, areas=True)
    weights = np.zeros(len(targets), np.float32)
    weights[:7] = 2.0
    tally.update_state(targets, outputs, weights)
    assert ranked(tally, 3).sum(axis=(1, 2)).tolist() == [7, 7, 7]


def test_certain_outputs_are_in_the_outermost_bins() -> None:
    tally = StepTally(2, areas=True)
    tally.update_state(np.asarray([0.0, 1.0], np.float32), np.asarray([[0.0], [1.0]], np.float32))
    lowest, highest = (np.flatnonzero(counts).tolist() for counts in ranked(tally, 2)[0])
    assert (lowest, len(highest)) == ([0], 1)
    assert highest[0] > 0.99 * bins(2)  # the float32 before 1 - 1e-7 is 1 - 1.2e-7


def test_an_output_that_is_no_number_is_counted_somewhere_and_harms_nothing() -> None:
    tally = StepTally(2, areas=True)
    tally.update_state(np.asarray([1.0], np.float32), np.asarray([[np.nan]], np.float32))
    assert ranked(tally, 2).sum() == 1


@pytest.mark.parametrize("metrics", [["accuracy"], ["accuracy", "auc"]])
def test_bins_are_counted_only_where_the_area_is_asked_for(metrics: list[str]) -> None:
    model = compiled(2, train__metrics=metrics)
    images = np.zeros((2, *model.input_shape[1:]), np.float32)
    logs = model.train_on_batch(images, np.asarray([0, 1], np.float32), return_dict=True)
    assert ("ranks" in logs) == ("auc" in metrics)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("sgd", "SGD"),
        ("adam", "Adam"),
        ("adamw", "AdamW"),
        ("rmsprop", "RMSprop"),
        ("lion", "Lion"),
    ],
)
def test_the_optimizer_is_the_one_of_the_recipe(word: str, kind: str) -> None:
    optimizer = compiled(2, train__optimizer=word, train__learning_rate=0.25).optimizer
    assert (type(optimizer).__name__, float(optimizer.learning_rate)) == (kind, 0.25)


@pytest.mark.parametrize("word", ["adamw", "sgd", "lion"])
def test_weight_decay_shrinks_kernels_and_leaves_biases_alone(word: str) -> None:
    model = compiled(2, train__optimizer=word, train__weight_decay=0.5, train__learning_rate=0.1)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones_like(variable))
    model.optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables])
    left = {v.name: float(keras.ops.max(v)) for v in model.trainable_variables}
    assert left == pytest.approx({"kernel": 0.95, "bias": 1.0})


PLAIN = {"train__optimizer": "sgd", "train__learning_rate": 1.0, "train__momentum": 0.0}


def stepped(model: keras.Model, *gradients: float) -> list[float]:
    """Return how far a weight has moved after each step whose gradients are all so large."""
    first = model.trainable_variables[0]
    before, moved = np.asarray(first).copy(), []
    for gradient in gradients:
        model.optimizer.apply(
            [keras.ops.ones_like(v) * gradient for v in model.trainable_variables]
        )
        moved.append(float((before - np.asarray(first)).ravel()[0]))
    return moved


def test_momentum_carries_a_step_on() -> None:
    model = compiled(2, **{**PLAIN, "train__momentum": 0.5})
    assert stepped(model, 1.0, 0.0) == pytest.approx([1.0, 1.5], rel=1e-5)


@pytest.mark.parametrize(("norm", "share"), [(0.5, 0.5), (2.0, 1.0), (0.0, 1.0)])
def test_the_gradient_is_scaled_down_to_its_norm_over_all_weights(
    norm: float, share: float
) -> None:
    model = compiled(2, **PLAIN, train__clip_norm=norm)
    count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    gradient = count**-0.5  # over all weights, a norm of 1
    assert stepped(model, gradient) == pytest.approx([share * gradient], rel=1e-4)


def test_the_weights_change_by_the_mean_gradient_of_the_accumulated_steps() -> None:
    model = compiled(2, **PLAIN, train__accumulate=3)
    moved = stepped(model, 1.0, 2.0, 6.0, 3.0, 3.0, 3.0)
    assert moved == pytest.approx([0.0, 0.0, 3.0, 3.0, 3.0, 6.0], rel=1e-5)


def test_accumulated_gradients_are_clipped_by_their_mean() -> None:
    model = compiled(2, **PLAIN, train__accumulate=2, train__clip_norm=1.0)
    assert stepped(model, 1000.0, -1000.0 + 1e-3)[1] == pytest.approx(5e-4, rel=0.2)


def test_accumulated_steps_use_the_learning_rate_of_the_last_one() -> None:
    model = compiled(2, **PLAIN, train__accumulate=2)
    stepped(model, 1.0)
    model.optimizer.learning_rate = 0.5
    assert stepped(model, 1.0) == pytest.approx([0.5], rel=1e-5)


def test_the_moving_average_goes_on_at_each_step_also_between_two_changes() -> None:
    model = compiled(2, **PLAIN, train__accumulate=2, train__weight_average=0.5)
    average = model.optimizer._model_variables_moving_average[0]
    start = float(np.asarray(model.trainable_variables[0]).ravel()[0])
    behind = []
    for gradient in (1.0,) * 6:  # the weight moves by 1 at every second
        stepped(model, gradient)
        behind.append(start - float(np.asarray(average).ravel()[0]))
    # From the first change on, the average closes half of the distance at each step.
    assert behind == pytest.approx([0.0, 1.0, 1.0, 1.5, 1.75, 2.375], rel=1e-4, abs=1e-6)


RICH = {"train__accumulate": 3, "train__weight_average": 0.9, "train__clip_norm": 1.0}


@pytest.mark.parametrize("word", ["sgd", "adamw", "lion"])
def test_a_state_saved_between_two_changes_goes_on_as_if_nothing_had_happened(word: str) -> None:
    def steps(model: keras.Model, numbers: range) -> None:
        for number in numbers:
            images = np.random.default_rng(number).random((4, 12, 16, 3), np.float32)
            model.train_on_batch(images, np.asarray([0, 1, 1, 0], np.float32))

    whole, other = (compiled(2, **RICH, train__optimizer=word) for _ in range(2))
    steps(whole, range(4))
    saved = variables.read(whole)
    steps(other, range(1))  # the step is compiled before a state is put back
    variables.assign(other, saved)
    for model in (whole, other):
        steps(model, range(4, 9))
    first, second = variables.read(whole), variables.read(other)
    differing = [name for name in first if not np.array_equal(first[name], second[name])]
    assert (first.keys(), differing) == (second.keys(), [])


def test_the_gradients_that_wait_are_part_of_the_state() -> None:
    model = compiled(2, **RICH)
    stepped(model, 7.0)
    waiting = [array for array in variables.read(model).values() if np.all(array == 7.0)]
    assert len(waiting) == len(model.trainable_variables)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_an_infinity_that_a_trained_weight_began_with_is_no_damage(average: float) -> None:
    model = compiled(2, **PLAIN, train__weight_average=average)
    first = model.trainable_variables[0]
    first.assign(keras.ops.full(first.shape, -np.inf))
    meant = variables.meant_infinite(model)
    model.optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    assert variables.spoiled(variables.read(model), meant=meant) == []
    other = model.trainable_variables[1]
    other.assign(keras.ops.full(other.shape, np.inf))
    assert variables.spoiled(variables.judged(model), meant=meant) != []

"""What is optimised, and what a step counts."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from sightline.recipes import Recipe, TrainSection

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def class_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return total / (K * count) for each class: every class then weighs the same in total."""
    return np.asarray(counts.sum() / (len(counts) * counts), np.float32)


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    num_classes: int,
    weights: npt.NDArray[np.float32] | None,
) -> None:
    """Compile `model` for the recipe: optimizer, objective, and the tally of each step.

    Class weights are inside the objective; the sample weight of a step says only whether a
    record could be read, so the tallied metrics are never distorted by class weights.
    """
    model.compile(
        optimizer=_optimizer(recipe.train),
        loss=_objective(num_classes, weights, recipe.train.label_smoothing),
        weighted_metrics=[StepTally(num_classes)],
    )
    model.optimizer.build(model.trainable_variables)


def _objective(num_classes: int, weights: npt.NDArray[np.float32] | None, smoothing: float) -> Loss:
    """Return cross-entropy with class weights and label smoothing, one value a record."""

    def objective(targets: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
        if num_classes == 2:
            targets = ops.reshape(targets, (-1, 1))
            losses = keras.losses.binary_crossentropy(targets, outputs, label_smoothing=smoothing)
            shares = ops.concatenate([1 - targets, targets], axis=1)
        else:
            losses = keras.losses.categorical_crossentropy(
                targets, outputs, label_smoothing=smoothing
            )
            shares = targets
        if weights is None:
            return losses
        return losses * ops.sum(shares * ops.convert_to_tensor(weights), axis=1)

    return objective


def _optimizer(train: TrainSection) -> keras.optimizers.Optimizer:
    average = (
        {"use_ema": True, "ema_momentum": train.weight_average} if train.weight_average else {}
    )
    rate = train.learning_rate
    if train.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            rate, momentum=train.momentum, weight_decay=train.weight_decay or None, **average
        )
    elif train.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=train.weight_decay, **average)
    elif train.optimizer == "rmsprop":
        optimizer = keras.optimizers.RMSprop(rate, **average)
    else:
        optimizer = keras.optimizers.Adam(rate, **average)
    if train.weight_decay:
        # Decay is meant for what multiplies the input; shifts and scales are left alone.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class StepTally(keras.metrics.Metric):
    """Counts one step: the confusion matrix, the summed plain cross-entropy, the records.

    From these, `judging.evaluation` computes every metric, for training and validation alike.
    Records of weight 0 (unreadable files) are not counted.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(name="tally", dtype="float32")
        self.num_classes = num_classes
        self.confusion = self.add_weight(
            shape=(num_classes * num_classes,), initializer="zeros", name="confusion"
        )
        self.entropy = self.add_weight(shape=(), initializer="zeros", name="entropy")

    def update_state(
        self,
        targets: keras.KerasTensor,
        outputs: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        """Add one batch."""
        outputs = ops.cast(outputs, "float32")
        if self.num_classes == 2:
            positive = ops.reshape(outputs, (-1, 1))
            outputs = ops.concatenate([1 - positive, positive], axis=1)
            true = ops.cast(ops.reshape(targets, (-1,)), "int32")
        else:
            true = ops.argmax(targets, axis=1)
        true = ops.cast(true, "int32")
        predicted = ops.cast(ops.argmax(outputs, axis=1), "int32")
        counted = ops.ones_like(outputs[:, 0])
        if sample_weight is not None:
            counted = ops.cast(ops.reshape(sample_weight, (-1,)) > 0, "float32")
        cells = ops.one_hot(true * self.num_classes + predicted, self.num_classes**2)
        self.confusion.assign_add(ops.sum(cells * counted[:, None], axis=0))
        chosen = ops.sum(outputs * ops.one_hot(true, self.num_classes), axis=1)
        losses = -ops.log(ops.clip(chosen, 1e-7, 1.0))
        self.entropy.assign_add(ops.sum(losses * counted))

    def result(self) -> dict[str, keras.KerasTensor]:
        """Return the counts and the sum."""
        return {"confusion": self.confusion.value, "entropy": self.entropy.value}

"""What is optimised, and what a step counts.

A step is a batch, everywhere: with `train.accumulate` the weights change at every so many steps,
while the schedule, the moving average and the counts go on at each. Gradients that wait at the
end of an epoch go into the next one, and into checkpoints. Fewer than `train.accumulate` that wait
where a frozen network thaws, or at the end of the training, are never applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from sightline.judging import evaluation
from sightline.recipes import Recipe, TrainSection

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]

# For the area: 4,000 spread outputs of which 5 % are positive miss it by < 0.001 with the most.
_MOST_BINS, _FEWEST_BINS = 1024, 128
_COUNTERS = 1 << 17  # of all classes and bins, which leave the device at each step: 0.5 MB
_SMALLEST = evaluation.SMALLEST_PROBABILITY
_FARTHEST = float(np.log((1 - _SMALLEST) / _SMALLEST))  # log-odds: 16.1


def bins(num_classes: int) -> int:
    """Return into how many bins probabilities are counted for the area: fewer over 64 classes."""
    return min(max(_COUNTERS // (2 * num_classes), _FEWEST_BINS), _MOST_BINS)


def class_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return total / (K * count) for each class: every class then weighs the same in total."""
    return np.asarray(counts.sum() / (len(counts) * counts), np.float32)


def shares_of_an_epoch(recipe: Recipe, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return (K,) shares of the classes among the images that a step is made of, adding up to 1.

    Those of the training split, unless they are sampled evenly.
    """
    if recipe.balance.sampling != "all":
        return np.full(len(counts), 1 / len(counts))
    return np.asarray(counts / counts.sum(), np.float64)


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    num_classes: int,
    weights: npt.NDArray[np.float32] | None,
) -> None:
    """Compile `model` for the recipe: optimizer, objective, and the tally of each step.

    Class weights are inside the objective; the sample weight of a step says only whether a
    record could be read, so the tallied metrics are never distorted by class weights. What the
    layers' own regularizers cost (model.l1, model.l2) Keras adds to the objective, and the tally
    knows nothing of it.

    A file that a callback of the user's saves of it (ModelCheckpoint) is opened by plain Keras, as
    a model that is not compiled: nobody else has this objective and tally.
    """
    _compile(model, recipe, num_classes, _objective(num_classes, weights, recipe))


def compile_again(model: keras.Model, recipe: Recipe, num_classes: int) -> None:
    """Compile a model whose trainable variables changed: the same objective, a new optimizer."""
    _compile(model, recipe, num_classes, model.loss)


def _compile(model: keras.Model, recipe: Recipe, num_classes: int, loss: Loss) -> None:
    model.compile(
        optimizer=_optimizer(recipe.train),
        loss=loss,
        weighted_metrics=[StepTally(num_classes, areas="auc" in recipe.train.metrics)],
    )
    model.optimizer.build(model.trainable_variables)
    model.get_compile_config = _none  # what Keras itself returns where nothing is compiled


def _none() -> dict[str, Any]:
    return {}


def _objective(num_classes: int, weights: npt.NDArray[np.float32] | None, recipe: Recipe) -> Loss:
    """Return cross-entropy with label smoothing, class weights and focus, one value a record.

    A record of the true class c costs w[c] * (1 - p[c]) ** gamma * H(smoothed target, p), where p
    are the outputs, w the class weights and H the cross-entropy. A mixed target, with shares s of
    several classes, has sum(s * w) for w[c] and sum(s * p) for p[c].
    """
    smoothing, gamma = recipe.train.label_smoothing, recipe.balance.focal_gamma

    def objective(targets: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
        shares = _in_full(targets) if num_classes == 2 else targets
        if outputs.shape[-1] == 1:
            losses = keras.losses.binary_crossentropy(
                shares[:, 1:], outputs, label_smoothing=smoothing
            )
        else:
            losses = keras.losses.categorical_crossentropy(
                shares, outputs, label_smoothing=smoothing
            )
        if weights is not None:
            losses = losses * ops.sum(shares * ops.convert_to_tensor(weights), axis=1)
        if gamma:
            given = _in_full(outputs) if outputs.shape[-1] == 1 else outputs
            missed = 1 - ops.sum(ops.cast(shares, given.dtype) * given, axis=1)
            # Never 0, where the slope of a gamma below 1 is infinite.
            losses = losses * ops.power(ops.clip(missed, _SMALLEST, 1.0), gamma)
        return losses

    return objective


def _in_full(positive: keras.KerasTensor) -> keras.KerasTensor:
    """Return (B, 2): both classes, from (B,) or (B, 1) of the second."""
    positive = ops.reshape(positive, (-1, 1))
    return ops.concatenate([1 - positive, positive], axis=1)


def _optimizer(train: TrainSection) -> keras.optimizers.Optimizer:
    """Return the optimizer of the recipe.

    In Keras, the gradients of `accumulate` steps are averaged, then clipped by the norm over all
    weights, then applied at the learning rate of the last of these steps; Adam corrects its bias
    by the number of updates, not of steps. The moving average takes in the weights at each step.
    """
    wanted: dict[str, Any] = {"learning_rate": train.learning_rate}
    if train.weight_average:
        wanted |= {"use_ema": True, "ema_momentum": train.weight_average}
    if train.clip_norm:
        wanted["global_clipnorm"] = train.clip_norm
    if train.accumulate > 1:
        wanted["gradient_accumulation_steps"] = train.accumulate
    decay = train.weight_decay or None
    if train.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=train.momentum, weight_decay=decay, **wanted)
    elif train.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(weight_decay=train.weight_decay, **wanted)
    elif train.optimizer == "lion":
        optimizer = keras.optimizers.Lion(weight_decay=decay, **wanted)
    elif train.optimizer == "rmsprop":
        optimizer = keras.optimizers.RMSprop(**wanted)
    else:
        optimizer = keras.optimizers.Adam(**wanted)
    if train.weight_decay:
        # Decay is meant for what multiplies the input; shifts and scales are left alone.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class StepTally(keras.metrics.Metric):
    """Counts one step: the confusion matrix, the summed plain cross-entropy, the records.

    From these, `judging.evaluation` computes every metric, for training and validation alike.
    Records of weight 0 (unreadable files) are not counted. One with a mixed target counts under
    its larger share (the first of equal ones), and its cross-entropy is that of this class alone.

    For the area under the ROC curve, which no confusion matrix has, the records are counted by the
    probability that they were given, in `bins` of equal width from log-odds -16.1 to 16.1: as fine
    near 0 and 1 as rare classes need. The area of the training is that of these bins, in which
    records less than 0.03 apart can be ties (0.25 with 512 classes and more); that of validation
    is exact.
    """

    def __init__(self, num_classes: int, *, areas: bool = False) -> None:
        """Begin with nothing counted.

        Args:
            num_classes: K.
            areas: Whether to count by probability as well.
        """
        super().__init__(name="tally", dtype="float32")
        self.num_classes = num_classes
        self.confusion = self.add_weight(
            shape=(num_classes * num_classes,), initializer="zeros", name="confusion"
        )
        self.entropy = self.add_weight(shape=(), initializer="zeros", name="entropy")
        self.ranks = None
        if areas:
            size = len(evaluation.ranked(num_classes)) * 2 * bins(num_classes)
            self.ranks = self.add_weight(shape=(size,), initializer="zeros", name="ranks")

    def update_state(
        self,
        targets: keras.KerasTensor,
        outputs: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        """Add one batch."""
        outputs = ops.cast(outputs, "float32")
        if outputs.shape[-1] == 1:
            outputs = _in_full(outputs)
        if self.num_classes == 2:
            true = ops.reshape(targets, (-1,)) > 0.5
        else:
            true = ops.argmax(targets, axis=1)
        true = ops.cast(true, "int32")
        predicted = ops.cast(ops.argmax(outputs, axis=1), "int32")
        counted = ops.ones_like(outputs[:, 0])
        if sample_weight is not None:
            counted = ops.cast(ops.reshape(sample_weight, (-1,)) > 0, "float32")
        cells = true * self.num_classes + predicted
        # Not by a row of K * K a record: 128 MB a step with 1,000 classes.
        self.confusion.assign_add(ops.segment_sum(counted, cells, num_segments=self.num_classes**2))
        own = ops.one_hot(true, self.num_classes)
        losses = -ops.log(ops.clip(ops.sum(outputs * own, axis=1), _SMALLEST, 1.0))
        self.entropy.assign_add(ops.sum(losses * counted))
        if self.ranks is not None:
            self.ranks.assign_add(self._ranks(outputs, own, counted))

    def _ranks(
        self, outputs: keras.KerasTensor, own: keras.KerasTensor, counted: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Return the counts of (class, others or own, bin), in one row."""
        classes, count = evaluation.ranked(self.num_classes), bins(self.num_classes)
        given, own = outputs[:, classes.start :], ops.cast(own[:, classes.start :], "int32")
        given = ops.clip(given, _SMALLEST, 1 - _SMALLEST)
        odds = ops.log(given) - ops.log1p(-given)
        binned = ops.cast((odds / _FARTHEST + 1) * (count / 2), "int32")
        # Of whole numbers: a NaN comes out somewhere, and the step is refused for it elsewhere.
        binned = ops.clip(binned, 0, count - 1)
        places = (2 * ops.arange(len(classes), dtype="int32") + own) * count + binned
        times = ops.broadcast_to(counted[:, None], ops.shape(places))
        return ops.segment_sum(
            ops.reshape(times, (-1,)),
            ops.reshape(places, (-1,)),
            num_segments=len(classes) * 2 * count,
        )

    def result(self) -> dict[str, keras.KerasTensor]:
        """Return the counts and the sum."""
        counts = {"confusion": self.confusion.value, "entropy": self.entropy.value}
        return counts if self.ranks is None else counts | {"ranks": self.ranks.value}

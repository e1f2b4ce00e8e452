"""Normalisation that trains faster on TensorFlow, and adds up in one order.

Keras writes a normalisation in small operations. TensorFlow then adds the three parts of its
gradient in whichever order they are ready, so that two trainings of one seed drift apart in the
last bits; with the gradient in one formula (Ioffe and Szegedy 2015, "Batch normalization", section
3) there is one order. The layers below are Keras' own in everything else: the names and shapes of
their weights, what they predict, and every step on other backends. Measured on two Zen 4 cores,
whole training steps against Keras' layers: a residual network 1.25 times the speed in float32 and
1.5 in bfloat16, chest-xray 1.15 and 1.45, ham10000 1.25 and 1.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

_BLOCK = 16  # channels: TensorFlow's fused operation is fast for multiples of it alone
# Under the name of this module a file is read as Keras' own layer of the class's name, which has
# the same weights and predicts the same. So what a user's callback saves opens in plain Keras.
_SAVED_AS = "keras.layers"


class BatchNormalization(layers.BatchNormalization):
    """Keras' layer of this name, trained by one operation or one formula on TensorFlow."""

    __module__ = _SAVED_AS

    def call(
        self,
        inputs: keras.KerasTensor,
        training: bool | None = None,
        mask: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """Return the inputs (B, ..., C) brought to mean 0 and deviation 1, times gamma plus beta.

        While training, over the batch; else by the moving mean and variance. Keras' own
        operations do it where several devices share the batch.
        """
        if self.synchronized or not (training and self.trainable and _on_tensorflow()):
            return super().call(inputs, training=training, mask=mask)
        pictures = len(inputs.shape) == 4
        outputs, mean, variance = (self._fused if pictures else self._in_one_formula)(inputs)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs

    def _fused(self, inputs: Any) -> tuple[Any, Any, Any]:
        import tensorflow as tf

        # A copy, as TensorFlow wants to know all variables that a gradient of its own uses.
        gamma, beta = tf.identity(self.gamma.value), tf.identity(self.beta.value)
        outputs, mean, variance = _fused_normaliser(self.epsilon)(inputs, gamma, beta)
        # It returns the variance divided by count - 1; Keras keeps that divided by the count.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        return outputs, mean, variance * ((count - 1) / count)

    def _in_one_formula(self, inputs: Any) -> tuple[Any, Any, Any]:
        import tensorflow as tf

        x = tf.cast(inputs, tf.float32)
        axes = list(range(len(inputs.shape) - 1))
        mean, variance = _moments(x, axes, keepdims=False)
        normalise = _normaliser(mean, variance, axes, self.epsilon)
        outputs = normalise(x, tf.identity(self.gamma.value), tf.identity(self.beta.value))
        return tf.cast(outputs, self.compute_dtype), mean, variance


class GroupNormalization(layers.GroupNormalization):
    """Keras' layer of this name for (B, H, W, C), its gradient in one formula on TensorFlow."""

    __module__ = _SAVED_AS

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Return each image's groups of channels brought to mean 0 and deviation 1."""
        if not _on_tensorflow():
            return super().call(inputs)
        import tensorflow as tf

        shape = tf.shape(inputs)
        grouped = (*(shape[place] for place in range(3)), self.groups, -1)
        x = tf.reshape(tf.cast(inputs, tf.float32), grouped)
        outputs = tf.reshape(_standardised(x, (1, 2, 4), self.epsilon), shape)
        return tf.cast(outputs * self.gamma + self.beta, self.compute_dtype)


class LayerNormalization(layers.LayerNormalization):
    """Keras' layer of this name over the last axis, its gradient in one formula on TensorFlow."""

    __module__ = _SAVED_AS

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Return each vector of channels brought to mean 0 and deviation 1."""
        if not _on_tensorflow():
            return super().call(inputs)
        import tensorflow as tf

        outputs = _standardised(tf.cast(inputs, tf.float32), (-1,), self.epsilon)
        return tf.cast(outputs * self.gamma + self.beta, self.compute_dtype)


def _on_tensorflow() -> bool:
    return bool(keras.config.backend() == "tensorflow")


def _fused_normaliser(epsilon: float) -> Callable[[Any, Any, Any], tuple[Any, Any, Any]]:
    """Return the function of (B, H, W, C) x, gamma and beta that gives outputs, mean and variance.

    TensorFlow's fused operation, on whole blocks of channels: of 30 channels it takes 130 ms where
    it takes 10 of 32, and 20 with those that are added and taken away.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def normalise(x: Any, gamma: Any, beta: Any) -> tuple[Any, Callable[..., tuple[Any, Any, Any]]]:
        channels, wide, scale = x.shape[-1], _in_blocks(x), _in_blocks(gamma)
        none = tf.zeros((0,))
        found = tf.raw_ops.FusedBatchNormV3(
            x=wide, scale=scale, offset=_in_blocks(beta), mean=none, variance=none,
            epsilon=epsilon, is_training=True,
        )  # fmt: skip

        def gradient(upstream: Any, *_: Any) -> tuple[Any, Any, Any]:
            slopes = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=_in_blocks(upstream), x=wide, scale=scale, epsilon=epsilon,
                reserve_space_1=found.reserve_space_1, reserve_space_2=found.reserve_space_2,
                reserve_space_3=found.reserve_space_3, is_training=True,
            )  # fmt: skip
            parts = slopes.x_backprop, slopes.scale_backprop, slopes.offset_backprop
            for_x, for_gamma, for_beta = (_first(part, channels) for part in parts)
            return for_x, for_gamma, for_beta

        kept = found.y, found.batch_mean, found.batch_variance
        return tuple(_first(each, channels) for each in kept), gradient

    return normalise  # type: ignore[no-any-return]


def _in_blocks(x: Any) -> Any:
    """Return x with as many channels of zeros more as fill its last block."""
    import tensorflow as tf

    lacking = -x.shape[-1] % _BLOCK
    return tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, lacking]]) if lacking else x


def _first(x: Any, channels: int) -> Any:
    """Return the first channels of x."""
    import tensorflow as tf

    rank = len(x.shape)
    if x.shape[-1] == channels:
        return x
    # As x[..., :channels] a whole step of ham10000 takes 5 % longer.
    return tf.slice(x, [0] * rank, [-1] * (rank - 1) + [channels])


def _moments(x: Any, axes: Sequence[int], *, keepdims: bool) -> tuple[Any, Any]:
    """Return mean and variance; the gradient does not go through them, it is in the formulas."""
    import tensorflow as tf

    x = tf.stop_gradient(x)
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)
    if keepdims:
        return mean, variance
    return tf.reshape(mean, (-1,)), tf.reshape(variance, (-1,))


def _normaliser(
    mean: Any, variance: Any, axes: Sequence[int], epsilon: float
) -> Callable[[Any, Any, Any], Any]:
    """Return the function of x, gamma and beta, with its gradient for all three."""
    import tensorflow as tf

    inverse = tf.math.rsqrt(variance + epsilon)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def normalise(
        x: Any, gamma: Any, beta: Any
    ) -> tuple[Any, Callable[[Any], tuple[Any, Any, Any]]]:
        factor = gamma * inverse
        count = tf.cast(tf.size(x) // tf.size(gamma), tf.float32)

        def gradient(upstream: Any) -> tuple[Any, Any, Any]:
            for_beta = tf.reduce_sum(upstream, axes)
            for_gamma = tf.reduce_sum(upstream * (x - mean), axes) * inverse
            slope = factor * inverse * for_gamma / count
            for_x = upstream * factor - x * slope + (mean * slope - factor * for_beta / count)
            return for_x, for_gamma, for_beta

        return x * factor + (beta - mean * factor), gradient

    return normalise  # type: ignore[no-any-return]


def _standardised(x: Any, axes: Sequence[int], epsilon: float) -> Any:
    """Return x with mean 0 and deviation 1 over `axes`."""
    import tensorflow as tf

    mean, variance = _moments(x, axes, keepdims=True)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def standardise(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        inverse = tf.math.rsqrt(variance + epsilon)
        outputs = (x - mean) * inverse

        def gradient(upstream: Any) -> Any:
            along = tf.reduce_mean(upstream * outputs, axes, keepdims=True)
            return inverse * (
                upstream - tf.reduce_mean(upstream, axes, keepdims=True) - outputs * along
            )

        return outputs, gradient

    return standardise(x)

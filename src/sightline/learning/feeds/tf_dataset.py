"""A stream as a tf.data dataset."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from sightline.data.stream import Stream
from sightline.learning.feeds.batches import Arrays, Epochs


def make_dataset(stream: Stream, *, first_epoch: int, images_only: bool) -> tf.data.Dataset:
    """Return a dataset of the stream's batches, an epoch an iteration."""
    epochs = Epochs(stream, first_epoch=first_epoch, images_only=images_only)

    def one_epoch() -> Iterator[Arrays]:
        # From its beginning, wherever the stream was resumed: the cardinality is a promise.
        stream.resume({"epoch": epochs.next_epoch, "batch": 0})
        return iter(epochs)

    signature = _signature(stream)
    dataset = tf.data.Dataset.from_generator(
        one_epoch, output_signature=signature[0] if images_only else signature
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(len(stream)))


def _signature(stream: Stream) -> tuple[tf.TensorSpec, tf.TensorSpec, tf.TensorSpec]:
    """Return the shapes and dtypes of (images, targets, weights)."""
    config, classes = stream.config, len(stream.class_names)
    return (
        tf.TensorSpec((None, *config.output().shape), config.dtype),
        tf.TensorSpec((None,) if classes == 2 else (None, classes), tf.float32),
        tf.TensorSpec((None,), tf.float32),
    )

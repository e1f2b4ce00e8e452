"""image_dataset_from_directory with Keras' random layers in map(AUTOTUNE), then prefetch."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from benchmarks.stream.workload import BATCH, ROTATION, SHIFT, SIZE, ZOOM, Epoch, Work


def uncached(work: Work) -> Epoch:
    """Decode anew each epoch."""
    return _epochs(_files(work), work)


def cached(work: Work) -> Epoch:
    """Keep decoded batches in memory and shuffle those, as TensorFlow's tutorials do."""
    return _epochs(_files(work).cache().shuffle(1000), work)


def _files(work: Work) -> tf.data.Dataset:
    return keras.utils.image_dataset_from_directory(
        str(work.folder), image_size=SIZE, batch_size=BATCH, shuffle=True, seed=0, verbose=False
    )


def _epochs(files: tf.data.Dataset, work: Work) -> Epoch:
    layers = [keras.layers.Rescaling(1 / 255)]
    if work.augment:
        layers += [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(ROTATION / 360, fill_mode="nearest"),
            keras.layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest"),
            keras.layers.RandomShear(x_factor=math.sin(0.2), fill_mode="nearest"),
            keras.layers.RandomZoom(ZOOM, ZOOM, fill_mode="nearest"),
        ]

    def change(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            images = layer(images, training=True)
        return images, labels

    batches = files.map(change, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def epoch(_: int) -> Any:
        return batches

    return epoch

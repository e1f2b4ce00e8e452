"""chest-xray in plain Keras: tf.data, model.fit, float32; knows nothing of Sightline.

    python benchmarks/plain_chest_xray.py SPLIT.csv --epochs 100 --out DIR [--cache]

After the pneumonia notebook among the public Keras examples, with every value of the recipe:
180x180, batches of 32, Adam, learning rate 0.01 * 0.1 ** (epoch / 20), class weights
total/(2*count), initial bias log(positives/negatives), best checkpoint and early stopping on
val_loss (patience 10, best weights restored). --cache keeps the decoded images in memory, as that
notebook does.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import plain_lines
import tensorflow as tf
from keras import layers

SIZE = (180, 180)
BATCH = 32


def separable_block(filters: int) -> list[keras.Layer]:
    """Return two separable convolutions, normalised and halved."""
    return [
        layers.SeparableConv2D(filters, 3, padding="same", activation="relu"),
        layers.SeparableConv2D(filters, 3, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(2),
    ]


def dense_block(units: int, rate: float) -> list[keras.Layer]:
    """Return a dense layer, normalised, with dropout."""
    dense = layers.Dense(units, activation="relu")
    return [dense, layers.BatchNormalization(), layers.Dropout(rate)]


def network(positives: int, negatives: int) -> keras.Model:
    """Return the compiled network; its output starts at the share of positives."""
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            *separable_block(32),
            *separable_block(64),
            *separable_block(128),
            layers.Dropout(0.2),
            *separable_block(256),
            layers.Dropout(0.2),
            layers.Flatten(),
            *dense_block(512, 0.7),
            *dense_block(128, 0.5),
            *dense_block(64, 0.3),
            layers.Dense(
                1,
                activation="sigmoid",
                bias_initializer=keras.initializers.Constant(np.log(positives / negatives)),
            ),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss="binary_crossentropy",
        metrics=[
            "accuracy",
            keras.metrics.Precision(name="precision"),
            keras.metrics.Recall(name="recall"),
        ],
    )
    return model


def decode(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return one image, (180, 180, 3) float32 0..1, and its label."""
    image = tf.image.decode_jpeg(tf.io.read_file(path), channels=3)
    # Scaled after it is small: the notebook's convert_image_dtype before it costs full-size floats.
    return tf.image.resize(image, SIZE) / 255, label


def dataset(rows: pd.DataFrame, positive: str, *, cache: bool, seed: int | None) -> tf.data.Dataset:
    """Return batches of images and labels; with a seed in another order each epoch."""
    images = tf.data.Dataset.from_tensor_slices(
        (rows["path"].to_numpy(str), labels_of(rows, positive))
    )
    if seed is not None and not cache:  # names are cheaper to shuffle than images
        images = images.shuffle(len(rows), seed=seed)
    images = images.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    if cache:
        images = images.cache()
        images = images if seed is None else images.shuffle(1000, seed=seed)
    return images.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def labels_of(rows: pd.DataFrame, positive: str) -> npt.NDArray[np.float32]:
    """Return (N, 1) 1 for the positive class."""
    return (rows["label"] == positive).to_numpy(np.float32)[:, None]


def main() -> None:
    """Train as published."""
    parser = plain_lines.parser(__doc__, epochs=100)
    parser.add_argument("--cache", action="store_true", help="keep decoded images in memory")
    asked = parser.parse_args()
    began = time.perf_counter()
    asked.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(asked.seed)
    train, validation = plain_lines.read(asked.split)
    positive = max(train["label"])
    truth = labels_of(validation, positive)[:, 0].astype(np.int64)
    held = dataset(validation, positive, cache=asked.cache, seed=None)

    def judge(model: keras.Model) -> plain_lines.Judged:
        return truth, model.predict(held, verbose=0)

    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 * 0.1 ** (epoch / 20)),
        keras.callbacks.ModelCheckpoint(
            asked.out / "best.keras", monitor="val_loss", save_best_only=True
        ),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=10, restore_best_weights=True),
        plain_lines.EpochLines(asked.out, len(train), judge),
    ]
    positives = int((train["label"] == positive).sum())
    negatives = len(train) - positives
    network(positives, negatives).fit(
        dataset(train, positive, cache=asked.cache, seed=asked.seed),
        validation_data=held,
        epochs=asked.epochs,
        class_weight={0: len(train) / (2 * negatives), 1: len(train) / (2 * positives)},
        callbacks=callbacks,
        verbose=0,
    )
    plain_lines.end(asked.out, began, callbacks)


if __name__ == "__main__":
    main()

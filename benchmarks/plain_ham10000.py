"""ham10000 in plain Keras: a table of labels, ImageDataGenerator, model.fit, float32.

    python benchmarks/plain_ham10000.py SPLIT.csv --epochs 30 --out DIR

Every value is that of the published recipe, and where it left one open, of ours: 90x120, batches of
64, Adam 0.001 halved after 3 epochs without a better val_loss, best weights by validation accuracy,
early stopping on val_loss (patience 8), memory collected and loss and accuracy plotted. It knows
nothing of Sightline.
"""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import matplotlib as mpl
import numpy as np
import plain_lines
from keras import layers
from keras.src.legacy.preprocessing.image import ImageDataGenerator

mpl.use("Agg")
from matplotlib import pyplot as plt

SIZE = (90, 120)
BATCH = 64


def network(num_classes: int) -> keras.Model:
    """Return the compiled network."""
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Conv2D(30, 5, activation="relu"),
            layers.Conv2D(30, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(20, 3, activation="relu"),
            layers.Conv2D(15, 3, activation="relu"),
            layers.GroupNormalization(3),
            layers.MaxPooling2D(2),
            layers.Conv2D(10, 3, activation="relu"),
            layers.Flatten(),
            layers.LayerNormalization(),
            layers.Dense(256, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(num_classes, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class CollectMemory(keras.callbacks.Callback):
    """Collects garbage at each epoch's end."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        gc.collect()


def plot(history: dict[str, list[float]], out: Path) -> None:
    """Draw loss and accuracy over the epochs."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for key in (name, f"val_{name}"):
            axis.plot(history[key], label=key)
        axis.legend()
    figure.savefig(out / "curves.png")
    plt.close(figure)


def main() -> None:
    """Train as published."""
    parser = plain_lines.parser(__doc__, epochs=30)
    parser.add_argument("--workers", type=int, default=1, help="threads that load; Keras' own is 1")
    asked = parser.parse_args()
    began = time.perf_counter()
    asked.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(asked.seed)
    train, validation = plain_lines.read(asked.split)
    how = {"x_col": "path", "y_col": "label", "target_size": SIZE, "batch_size": BATCH}
    images = ImageDataGenerator(rescale=1 / 255)
    flow = images.flow_from_dataframe(train, class_mode="categorical", seed=asked.seed, **how)
    held = images.flow_from_dataframe(
        validation, class_mode="categorical", classes=list(flow.class_indices), shuffle=False, **how
    )
    flow.workers = held.workers = asked.workers

    def judge(model: keras.Model) -> plain_lines.Judged:
        return np.asarray(held.classes), model.predict(held, verbose=0)

    callbacks = [
        keras.callbacks.ModelCheckpoint(
            asked.out / "best.keras", monitor="val_accuracy", mode="max", save_best_only=True
        ),
        keras.callbacks.ReduceLROnPlateau(
            monitor="val_loss", factor=0.5, patience=3, min_delta=0.0
        ),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=8),
        CollectMemory(),
        plain_lines.EpochLines(asked.out, len(train), judge),
    ]
    history = network(len(flow.class_indices)).fit(
        flow, validation_data=held, epochs=asked.epochs, callbacks=callbacks, verbose=0
    )
    plot(history.history, asked.out)
    plain_lines.end(asked.out, began, callbacks)


if __name__ == "__main__":
    main()

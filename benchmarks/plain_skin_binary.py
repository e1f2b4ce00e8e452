"""skin-binary in plain Keras: ImageDataGenerator, model.fit, float32; knows nothing of Sightline.

    python benchmarks/plain_skin_binary.py SPLIT.csv --epochs 10 --out DIR

Every value is that of the published recipe: 122x122, batches of 32, Adam 0.001, rotation 20,
shifts, shear and zoom 0.2, horizontal flip, early stopping on val_loss (patience 4, min_delta
0.01).
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import plain_lines
from keras import layers
from keras.src.legacy.preprocessing.image import ImageDataGenerator

SIZE = (122, 122)
BATCH = 32


def network() -> keras.Model:
    """Return the compiled network: 14,751,713 parameters."""
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.001), loss="binary_crossentropy", metrics=["accuracy"]
    )
    return model


def main() -> None:
    """Train as published."""
    parser = plain_lines.parser(__doc__, epochs=10)
    parser.add_argument("--workers", type=int, default=1, help="threads that load; Keras' own is 1")
    asked = parser.parse_args()
    began = time.perf_counter()
    asked.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(asked.seed)
    train, validation = plain_lines.read(asked.split)
    how = {"x_col": "path", "y_col": "label", "target_size": SIZE, "batch_size": BATCH}
    changed = ImageDataGenerator(
        rescale=1 / 255,
        rotation_range=20,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=0.2,
        zoom_range=0.2,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    flow = changed.flow_from_dataframe(train, class_mode="binary", seed=asked.seed, **how)
    plain = ImageDataGenerator(rescale=1 / 255)
    held = plain.flow_from_dataframe(validation, class_mode="binary", shuffle=False, **how)
    flow.workers = held.workers = asked.workers

    def judge(model: keras.Model) -> plain_lines.Judged:
        return np.asarray(held.classes), model.predict(held, verbose=0)

    callbacks = [
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=4, min_delta=0.01),
        plain_lines.EpochLines(asked.out, len(train), judge),
    ]
    network().fit(flow, validation_data=held, epochs=asked.epochs, callbacks=callbacks, verbose=0)
    plain_lines.end(asked.out, began, callbacks)


if __name__ == "__main__":
    main()

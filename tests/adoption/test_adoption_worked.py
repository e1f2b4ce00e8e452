"""Four scripts as tutorials have them: what is found in each, and the mended copy word for word."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from judged import Read, mended, places

from sightline.adoption import adopt
from sightline.errors import DataError

# Benign or malignant, 122 x 122: fit_generator, early stopping, HDF5.
SKIN = """\
# -*- coding: utf-8 -*-
# Benign or malignant: a small network on pictures of 122 x 122.
import numpy as np
from keras.models import Sequential, load_model
from keras.layers.convolutional import Conv2D, MaxPooling2D
from keras.layers import Dense, Dropout, Flatten
from keras.preprocessing.image import ImageDataGenerator
from keras.callbacks import EarlyStopping
from keras.optimizers import Adam
import matplotlib.pyplot as plt

SIZE = 122
BATCH = 32
n_train, n_val = 2637, 660

augment = dict(rotation_range=20, width_shift_range=0.2, height_shift_range=0.2,
               shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
train_gen = ImageDataGenerator(rescale=1./255, **augment)
test_gen = ImageDataGenerator(rescale=1./255)

train = train_gen.flow_from_directory("data/train", target_size=(SIZE, SIZE),
                                      batch_size=BATCH, class_mode="binary")
val = test_gen.flow_from_directory("data/val", target_size=(SIZE, SIZE),
                                   batch_size=BATCH, class_mode="binary")

model = Sequential()
model.add(Conv2D(16, (3, 3), padding="same", activation="relu", input_shape=(SIZE, SIZE, 3)))
model.add(MaxPooling2D(2))
model.add(Dropout(0.2))
model.add(Flatten())
model.add(Dense(512, activation="relu"))
model.add(Dense(1, activation="sigmoid"))
model.compile(optimizer=Adam(lr=0.001), loss="binary_crossentropy", metrics=["accuracy"])

stop = EarlyStopping(monitor="val_loss", patience=4, min_delta=0.01)  # enough
history = model.fit_generator(train,
                              steps_per_epoch=n_train // BATCH,
                              epochs=10,
                              validation_data=val,
                              validation_steps=n_val // BATCH,
                              callbacks=[stop], workers=4)

loss, accuracy = model.evaluate_generator(val, steps=n_val // BATCH)
print("accuracy: %.3f" % accuracy)
plt.plot(history.history["acc"])
plt.plot(history.history['val_acc'])
model.save("skin.h5")

again = load_model("skin.h5")
again.fit_generator(train, epochs=1)
"""
SKIN_FOUND = [
    (5, "moved-name"),
    (7, "image-generator-import"),
    (33, "renamed-argument"),
    (33, "accuracy-alone"),
    (36, "generator-method"),
    (36, "no-seed"),
    (37, "steps-drop-images"),
    (40, "steps-drop-images"),
    (43, "generator-method"),
    (43, "last-weights"),
    (43, "steps-drop-images"),
    (43, "test-as-validation"),
    (45, "history-key"),
    (46, "history-key"),
    (47, "h5-saved"),
    (50, "generator-method"),
    (50, "h5-training"),
]
SKIN_MENDED = {
    5: "from keras.layers import Conv2D, MaxPooling2D",
    7: "from sightline.preprocessing.image import ImageDataGenerator, evaluate_generator, fit_generator",  # noqa: E501
    33: 'model.compile(optimizer=Adam(learning_rate=0.001), loss="binary_crossentropy", metrics=["accuracy"])',  # noqa: E501
    36: "history = fit_generator(model, train,",
    37: "                              steps_per_epoch=len(train),",
    40: "                              validation_steps=len(val),",
    43: "loss, accuracy = evaluate_generator(model, val, steps=len(val))",
    45: 'plt.plot(history.history["accuracy"])',
    46: "plt.plot(history.history['val_accuracy'])",
    50: "fit_generator(again, train, epochs=1)",
}

# Red and blue folders, three iterators; Keras from two places.
COLOURS = """\
from tensorflow import keras
from keras.layers import Dense, Flatten
from keras.preprocessing.image import (
    ImageDataGenerator,  # the feeder
    load_img,
)
from keras.models import Sequential

datagen = ImageDataGenerator(rescale=1 / 255)
train_it = datagen.flow_from_directory('colours/train/', class_mode='binary', batch_size=64)
val_it = datagen.flow_from_directory('colours/validation/', class_mode='binary', batch_size=64)
test_it = datagen.flow_from_directory('colours/test/', class_mode='binary', batch_size=64)

batchX, batchy = train_it.next()
print('Batch shape=%s, min=%.3f, max=%.3f' % (batchX.shape, batchX.min(), batchX.max()))

model = Sequential([Flatten(input_shape=(256, 256, 3)), Dense(1, activation='sigmoid')])
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
model.fit_generator(train_it, steps_per_epoch=16, validation_data=val_it, validation_steps=8)
loss = model.evaluate_generator(test_it, steps=24)
yhat = model.predict_generator(test_it, steps=24)
for name, p in zip(test_it.filenames, yhat):
    print(name, p)
"""
COLOURS_FOUND = [
    (1, "mixed-imports"),
    (3, "image-generator-import"),
    (14, "removed-method"),
    (18, "accuracy-alone"),
    (19, "generator-method"),
    (19, "steps-fixed"),
    (19, "no-seed"),
    (19, "steps-fixed"),
    (20, "generator-method"),
    (20, "steps-fixed"),
    (21, "generator-method"),
    (21, "predictions-shuffled"),
    (21, "steps-fixed"),
]
COLOURS_MENDED = {
    1: "import keras",
    3: "from sightline.preprocessing.image import (",
    6: ")\nfrom sightline.preprocessing.image import evaluate_generator, fit_generator, predict_generator",  # noqa: E501
    14: "batchX, batchy = next(train_it)",
    19: "fit_generator(model, train_it, steps_per_epoch=16, validation_data=val_it, validation_steps=8)",  # noqa: E501
    20: "loss = evaluate_generator(model, test_it, steps=24)",
    21: "yhat = predict_generator(model, test_it, steps=24)",
}

# Cats and dogs, 150 x 150: eight augmentations, for the validation as well.
CATS = """\
import tensorflow as tf
from tensorflow.keras import layers, optimizers
from tensorflow.keras.preprocessing.image import ImageDataGenerator

train_datagen = tf.keras.preprocessing.image.ImageDataGenerator(
    rescale=1./255,
    rotation_range=40,
    width_shift_range=0.2,
    height_shift_range=0.2,
    shear_range=0.2,
    zoom_range=0.2,
    horizontal_flip=True,
    vertical_flip=True,
    channel_shift_range=20,
    validation_split=0.2,
    fill_mode='nearest')

train_generator = train_datagen.flow_from_directory(
    'cats_and_dogs/train', target_size=(150, 150), batch_size=20,
    class_mode='binary', subset='training')
validation_generator = train_datagen.flow_from_directory(
    'cats_and_dogs/train', target_size=(150, 150), batch_size=20,
    class_mode='binary', subset='validation')


def build_model():
    model = tf.keras.models.Sequential()
    model.add(layers.Conv2D(32, (3, 3), activation='relu', input_shape=(150, 150, 3)))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(1))
    model.add(layers.Activation('sigmoid'))
    model.compile(loss='binary_crossentropy',
                  optimizer=optimizers.RMSprop(lr=1e-4),
                  metrics=['acc'])
    return model


model = build_model()
checkpoint = tf.keras.callbacks.ModelCheckpoint('best.hdf5', monitor='val_accuracy',
                                                save_best_only=True)
history = model.fit(
    train_generator,
    steps_per_epoch=train_generator.samples // train_generator.batch_size,
    epochs=30,
    validation_data=validation_generator,
    validation_steps=5,  # 100 pictures
    batch_size=20,
    workers=4,
    callbacks=[checkpoint])
acc = history.history['accuracy']
model.save('cats_and_dogs')
"""
CATS_FOUND = [
    (3, "image-generator-import"),
    (5, "image-generator-import"),
    (5, "split-by-order"),
    (21, "validation-augmented"),
    (34, "renamed-argument"),
    (35, "accuracy-alone"),
    (40, "checkpoint-path"),
    (40, "monitor-name"),
    (42, "validation-small"),
    (42, "no-seed"),
    (44, "steps-drop-images"),
    (47, "steps-fixed"),
    (48, "batch-size-ignored"),
    (49, "removed-argument"),
    (51, "history-key"),
    (52, "save-path"),
]
CATS_MENDED = {
    3: "from sightline.preprocessing.image import ImageDataGenerator",
    5: "train_datagen = ImageDataGenerator(",
    34: "                  optimizer=optimizers.RMSprop(learning_rate=1e-4),",
    40: "checkpoint = tf.keras.callbacks.ModelCheckpoint('best.hdf5', monitor='val_acc',",
    44: "    steps_per_epoch=len(train_generator),",
    48: None,
    49: None,
    51: "acc = history.history['acc']",
}


def patched(code: str, changes: Mapping[int, str | None]) -> str:
    """Return the text with some lines, counted from 1, written anew; None takes one out."""
    lines: list[str | None] = list(code.splitlines(keepends=True))
    for number, line in changes.items():
        lines[number - 1] = None if line is None else f"{line}\n"
    return "".join(line for line in lines if line is not None)


@pytest.mark.parametrize(
    ("code", "found", "changes"),
    [(SKIN, SKIN_FOUND, SKIN_MENDED), (COLOURS, COLOURS_FOUND, COLOURS_MENDED),
     (CATS, CATS_FOUND, CATS_MENDED)],
    ids=["skin", "colours", "cats"],
)  # fmt: skip
def test_a_script_of_a_tutorial_is_adopted(
    read: Read, code: str, found: list[tuple[int, str]], changes: Mapping[int, str | None]
) -> None:
    adoption = read(code)
    assert places(adoption) == found
    assert mended(adoption) == patched(code, changes)


@pytest.mark.parametrize("code", [SKIN, COLOURS, CATS], ids=["skin", "colours", "cats"])
def test_the_copy_has_none_of_what_was_mended(read: Read, code: str) -> None:
    first = read(code)
    second = read(mended(first))
    assert second.mended is None
    left = [each.code for each in first.findings if not each.evidence["mended"]]
    assert [each.code for each in second.findings] == left


# Predictions joined to the names of their files, in a notebook.
CELLS: list[tuple[str, list[str]]] = [
    ("markdown", ["# Which lesion is it?\n"]),
    ("code", ["!pip install -q keras pandas\n", "%matplotlib inline\n", "import os\n",
              "import pandas as pd\n", "from keras.models import load_model\n",
              "from keras.preprocessing.image import ImageDataGenerator"]),
    ("code", ["model = load_model('lesions.h5')\n", "model.summary()"]),
    ("markdown", ["Now the **test** pictures."]),
    ("code", ["test_gen = ImageDataGenerator(rescale=1./255)\n",
              "test = test_gen.flow_from_directory(\n", "    'lesions/test',\n",
              "    target_size=(90, 120),\n", "    batch_size=16,\n",
              "    class_mode='categorical')"]),
    ("code", ["%%time\n", "steps = test.samples // test.batch_size  # whole batches\n",
              "rows = model.predict_generator(test, steps=steps, verbose=1)"]),
    ("code", ["table = pd.DataFrame({'file': test.filenames[:len(rows)],\n",
              "                      'lesion': rows.argmax(axis=1)})\n",
              "table.to_csv('lesions.csv')\n", "table.head?"]),
]  # fmt: skip


def notebook() -> str:
    cells = []
    for kind, source in CELLS:
        ran = {"execution_count": 3, "outputs": []} if kind == "code" else {}
        cells.append({"cell_type": kind, "metadata": {}, **ran, "source": source})
    whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 2}
    return json.dumps(whole, indent=1) + "\n"


def test_a_notebook_that_joins_predictions_to_names_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "lesions.ipynb").write_text(notebook())
    adoption = adopt(tmp_path / "lesions.ipynb")
    cells = [each.evidence["cell"] for each in adoption.findings]
    found = [(cell, *place) for cell, place in zip(cells, places(adoption), strict=True)]
    assert found == [
        (2, 6, "image-generator-import"),
        (6, 3, "generator-method"),
        (6, 3, "predictions-shuffled"),
        (6, 3, "steps-drop-images"),
    ]
    assert mended(adoption) == (
        notebook()
        .replace("from keras.preprocessing.image import ImageDataGenerator",
                 "from sightline.preprocessing.image import ImageDataGenerator, predict_generator")
        .replace("model.predict_generator(test, steps=steps,",
                 "predict_generator(model, test, steps=len(test),")
    )  # fmt: skip


def test_the_mended_notebook_has_nothing_left(tmp_path: Path) -> None:
    (tmp_path / "lesions.ipynb").write_text(notebook())
    (tmp_path / "new.ipynb").write_text(mended(adopt(tmp_path / "lesions.ipynb")))
    assert adopt(tmp_path / "new.ipynb").findings == ()


def test_broken_pieces_of_scripts_are_read_and_mended_once(read: Read) -> None:
    """Lines left out, doubled or moved under an `if`: no error but ours, and no copy of a copy."""
    rng = random.Random(7)
    copies = 0
    for _ in range(80):
        lines = (rng.choice([SKIN, COLOURS, CATS]) + rng.choice([SKIN, CATS])).splitlines()
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(lines))
            line = lines[place]
            lines[place : place + 1] = rng.choice([[], [line] * 2, [f"if x: {line.strip()}"]])
        try:
            adoption = read("\n".join(lines) + "\n")
        except DataError:
            continue
        assert not adoption.refused
        if adoption.mended is not None:
            assert read(mended(adoption), "copy.py").mended is None
            copies += 1
    assert copies > 20

"""Programs as tutorials write them, really trained for a few steps on small folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from sightline.preprocessing.image import (
    ImageDataGenerator,
    enable_keras2_methods,
    evaluate_generator,
    fit_generator,
    predict_generator,
)

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def write_pictures(folder: Path, count: int, colour: tuple[int, int, int], size: int = 40) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(-30, 30, (size, size + 8, 3))
        pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=95)


def small_network(size: tuple[int, int], units: int, activation: str) -> keras.Model:
    keras.utils.set_random_seed(1)  # a few steps learn little from an unlucky start
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(units, activation=activation),
        ]
    )


@pytest.fixture
def keras2_methods() -> Iterator[None]:
    names = ("fit_generator", "evaluate_generator", "predict_generator")
    assert not any(hasattr(keras.Model, name) for name in names)
    enable_keras2_methods()
    enable_keras2_methods()
    yield
    for name in names:
        delattr(keras.Model, name)


@pytest.mark.usefixtures("keras2_methods")
def test_benign_and_malignant_lesions_with_early_stopping_and_an_h5_file(tmp_path: Path) -> None:
    for part, count in (("train", 14), ("test", 6)):
        write_pictures(tmp_path / part / "benign", count, (200, 160, 140))
        write_pictures(tmp_path / part / "malignant", count, (90, 50, 40))
    changes = ImageDataGenerator(
        rescale=1.0 / 255, rotation_range=20, width_shift_range=0.2, height_shift_range=0.2,
        shear_range=0.2, zoom_range=0.2, horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip
    plain = ImageDataGenerator(rescale=1.0 / 255)
    train = changes.flow_from_directory(
        tmp_path / "train", target_size=(122, 122), batch_size=8, class_mode="binary", seed=1
    )
    test = plain.flow_from_directory(
        tmp_path / "test", target_size=(122, 122), batch_size=8, class_mode="binary", shuffle=False
    )
    model = small_network((122, 122), 1, "sigmoid")
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=4, min_delta=0.01)
    history = model.fit_generator(
        train, steps_per_epoch=28 // 8, epochs=3, validation_data=test,
        validation_steps=12 // 8 + 1, callbacks=[stopping], verbose=0,
        workers=4, use_multiprocessing=True, max_queue_size=2,
    )  # fmt: skip
    assert sorted(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert len(history.history["val_loss"]) == 3
    before = model.evaluate_generator(test)
    model.save(tmp_path / "skin.h5")
    loaded = keras.models.load_model(tmp_path / "skin.h5")
    assert loaded.evaluate_generator(test) == before


def test_red_and_blue_folders_with_the_same_two_pictures_in_all_three(tmp_path: Path) -> None:
    for part in ("train", "validation", "test"):
        write_pictures(tmp_path / part / "blue", 1, (20, 30, 220))
        write_pictures(tmp_path / part / "red", 1, (220, 30, 20))
    train, validation, test = (
        ImageDataGenerator().flow_from_directory(tmp_path / part)
        for part in ("train", "validation", "test")
    )
    images, labels = next(train)
    assert images.shape == (2, 256, 256, 3)
    assert images.dtype == np.float32
    assert 1 < images.max() <= 255
    assert labels.shape == (2, 2)
    settings = {"target_size": (32, 32), "class_mode": "binary", "batch_size": 64}
    train, validation, test = (
        ImageDataGenerator(rescale=1 / 255).flow_from_directory(tmp_path / part, **settings)
        for part in ("train", "validation", "test")
    )
    model = small_network((32, 32), 1, "sigmoid")
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    history = fit_generator(
        model, train, steps_per_epoch=4, epochs=12, validation_data=validation,
        validation_steps=1, verbose=0,
    )  # fmt: skip
    assert len(history.history["loss"]) == 12
    predicted = predict_generator(model, test, steps=1)
    assert predicted.shape == (2, 1)
    names = [name.split("/")[0] for name in test.filenames]
    assert names == ["blue", "red"]
    assert predicted[0, 0] < 0.5 < predicted[1, 0]


def test_eight_changes_at_150_pixels_with_as_many_steps_as_batches(tmp_path: Path) -> None:
    write_pictures(tmp_path / "cats", 7, (180, 140, 90))
    write_pictures(tmp_path / "dogs", 6, (60, 70, 80))
    changes = ImageDataGenerator(
        rescale=1.0 / 255, rotation_range=40, width_shift_range=0.2, height_shift_range=0.2,
        shear_range=0.2, zoom_range=0.2, horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip
    generator = changes.flow_from_directory(
        tmp_path, target_size=(150, 150), batch_size=5, class_mode="categorical"
    )
    model = small_network((150, 150), 2, "softmax")
    model.compile("rmsprop", "categorical_crossentropy", metrics=["acc"])
    history = model.fit(generator, steps_per_epoch=len(generator), epochs=2, verbose=0)
    assert len(history.history["acc"]) == 2


def test_predictions_over_a_folder_are_joined_to_names(tmp_path: Path) -> None:
    write_pictures(tmp_path / "dark", 5, (40, 40, 40))
    write_pictures(tmp_path / "light", 6, (210, 210, 210))
    generator = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        tmp_path, target_size=(24, 24), batch_size=4, class_mode="sparse", shuffle=True
    )
    model = small_network((24, 24), 2, "softmax")
    model.compile(
        keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    fit_generator(model, generator, epochs=20, verbose=0)
    assert evaluate_generator(model, generator)[1] == 1
    predicted = predict_generator(model, generator).argmax(axis=1)
    of_class = {number: name for name, number in generator.class_indices.items()}
    joined = dict(zip(generator.filenames, (of_class[number] for number in predicted), strict=True))
    assert joined == {name: name.split("/")[0] for name in generator.filenames}


def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        yield np.ones((2, 6, 6, 3), np.float32), np.zeros((2, 1), np.float32)


def test_a_python_generator_needs_its_number_of_batches() -> None:
    model = small_network((6, 6), 1, "sigmoid")
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"`steps_per_epoch=None` is only valid .* please specify"):
        fit_generator(model, endless())
    with pytest.raises(ValueError, match="`steps=None` is only valid"):
        evaluate_generator(model, endless())
    with pytest.raises(ValueError, match="`validation_steps=None` is only valid"):
        fit_generator(model, endless(), 2, validation_data=endless(), verbose=0)
    history = fit_generator(
        model, endless(), 2, epochs=2, verbose=0, validation_data=endless(), validation_steps=3
    )
    assert len(history.history["val_loss"]) == 2
    assert predict_generator(model, endless(), steps=3).shape == (6, 1)


def test_a_validation_that_changes_its_pictures_is_told_of(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", 2, (40, 40, 40))
    write_pictures(tmp_path / "b", 2, (90, 40, 40))
    settings = {"target_size": (6, 6), "class_mode": "binary"}
    changing = ImageDataGenerator(rotation_range=9).flow_from_directory(tmp_path, **settings)
    model = small_network((6, 6), 1, "sigmoid")
    model.compile("sgd", "binary_crossentropy")
    with pytest.warns(UserWarning, match="validation_data changes its pictures at random"):
        fit_generator(model, changing, validation_data=changing, verbose=0)
    with pytest.warns(UserWarning, match="generator of an evaluation changes its pictures"):
        evaluate_generator(model, changing)

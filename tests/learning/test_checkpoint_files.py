"""What a user's own ModelCheckpoint saves of a training is opened by plain Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import SIZE, Trained, Witness, small_recipe, train

from sightline.learning.models import forward, networks
from sightline.learning.training import compile_model

RECIPES = ("auto", "basic", "chest-xray", "ham10000", "skin-binary")
OPENING = """
import sys
import keras
import numpy as np
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
assert "sightline" not in sys.modules
"""


def an_image_of(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(0).random((1, *model.input_shape[1:]), np.float32)


@pytest.mark.parametrize("name", RECIPES)
def test_a_network_in_training_is_saved_as_keras_own(name: str, tmp_path: Path) -> None:
    size = {} if name in ("auto", "basic") else {"data__image_size": (64, 64)}
    recipe = small_recipe(name, **size)
    model = networks.build(recipe, 3, training=True)
    compile_model(model, recipe, 3, None)
    model.save(tmp_path / "best.keras")
    opened = keras.models.load_model(tmp_path / "best.keras")  # it would be compiled if it could
    for layer in opened.layers:
        assert type(layer) is getattr(keras.layers, type(layer).__name__)
    image = an_image_of(model)
    np.testing.assert_allclose(
        opened.predict_on_batch(image), model.predict_on_batch(image), atol=1e-6
    )


def test_the_logs_of_an_epoch_leave_its_number_out(spoiled: Trained, tmp_path: Path) -> None:
    # Keras puts both into the name of the file.
    saving = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    assert saving._get_file_path(2, None, spoiled.witness.logs[2]) == str(tmp_path / "3.keras")


def test_a_copy_of_a_network_in_training_can_be_made() -> None:
    recipe = small_recipe("auto")
    model = networks.build(recipe, 3, training=True)
    compile_model(model, recipe, 3, None)
    assert keras.models.clone_model(model).count_params() == model.count_params()


@pytest.fixture
def saved(pictures: Path, tmp_path: Path) -> tuple[Path, Witness, int]:
    """What Keras' own callback saved, who looked on, and the epoch that it was saved in."""
    path, witness = tmp_path / "best.keras", Witness()
    callbacks: Sequence[keras.callbacks.Callback] = [
        keras.callbacks.ModelCheckpoint(path, save_best_only=True),
        keras.callbacks.EarlyStopping(patience=2),
        witness,
    ]
    run = train(pictures, tmp_path / "run", recipe="auto", callbacks=callbacks, train__epochs=3)
    epoch = run.history.table["val_loss"].arg_min()
    assert epoch is not None
    return path, witness, epoch


@pytest.mark.slow
def test_the_file_predicts_in_a_process_without_sightline_what_the_training_does(
    saved: tuple[Path, Witness, int], tmp_path: Path
) -> None:
    path, witness, epoch = saved
    images = np.random.default_rng(0).random((8, *SIZE, 3), np.float32)
    np.save(tmp_path / "images.npy", images)
    arguments = [str(path), str(tmp_path / "images.npy"), str(tmp_path / "outputs.npy")]
    environment = os.environ | {"KERAS_BACKEND": keras.config.backend()}
    done = subprocess.run(
        [sys.executable, "-c", OPENING, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    trained = networks.build(small_recipe("auto"), 2, training=True)
    forward.set_weights(trained, witness.weights[epoch])
    answers = np.load(tmp_path / "outputs.npy")
    expected = forward.forward(trained, images, batch_size=8)
    np.testing.assert_allclose(answers[:, 0], expected[:, 1], atol=1e-6)

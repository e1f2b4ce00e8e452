"""Layers of the user's own, in a network that a function named by the recipe makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from tiny import SMALL

from sightline.errors import RunError
from sightline.learning.models import kept, own
from sightline.recipes import OWN, Recipe, load_recipe

# The function takes what the documentation says; its module may import that type.
MODULE = """
import keras
from keras import layers
from sightline.recipes import Recipe

@keras.saving.register_keras_serializable(package="builders")
class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs

@keras.saving.register_keras_serializable(package="builders")
def bent(inputs):
    return keras.ops.maximum(inputs, 0.1 * inputs)

def make(recipe: Recipe, num_classes: int) -> keras.Model:
    size = (*recipe.data.image_size, recipe.data.channels)
    return keras.Sequential([
        keras.Input(size), layers.Flatten(), Doubled(), layers.Dense(4, activation=bent),
        layers.Dense(num_classes, activation="softmax"),
    ], name="made")
"""
NAMED = "builder_layers:make"
LAYERS = ("builders>Doubled", "builders>bent")


def a_recipe(network: str = NAMED) -> Recipe:
    return load_recipe("basic", {**SMALL, "model.network": network})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the module; nothing of it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "builder_layers.py").write_text(MODULE)
    forget()
    return tmp_path


@pytest.fixture
def network(here: Path) -> bytes:
    """What a run keeps of the network, opened by a process that does not know its layers."""
    recipe = a_recipe()
    content = kept.content(own.called(recipe, 2, "float32"), recipe, 2)
    forget()
    return content


def forget() -> None:
    sys.modules.pop("builder_layers", None)
    for name in LAYERS:
        keras.saving.get_custom_objects().pop(name, None)


def test_the_module_that_the_recipe_names_is_imported_for_its_layers(network: bytes) -> None:
    opened = kept.rebuild(a_recipe(), 2, network)
    assert [type(layer).__name__ for layer in opened.layers][1] == "Doubled"


def test_a_module_that_cannot_be_found_is_named_with_the_folder(network: bytes, here: Path) -> None:
    (here / "builder_layers.py").unlink()
    message = (
        rf"has builders>Doubled, .*there is no module 'builder_layers', .*current folder {here}\. "
        r"Start from the folder that has builder_layers\.py"
    )
    with pytest.raises(RunError, match=message):
        kept.rebuild(a_recipe(), 2, network)


def test_a_module_that_fails_is_named_with_what_it_says(network: bytes, here: Path) -> None:
    (here / "builder_layers.py").write_text("1 / 0")
    with pytest.raises(RunError, match="importing builder_layers failed: ZeroDivisionError"):
        kept.rebuild(a_recipe(), 2, network)


def test_a_module_that_registers_its_layers_no_longer_is_named(network: bytes, here: Path) -> None:
    (here / "builder_layers.py").write_text("")
    with pytest.raises(RunError, match=r"Doubled.*/builder_layers\.py was imported, which its"):
        kept.rebuild(a_recipe(), 2, network)


def test_for_a_model_that_was_given_nothing_is_imported(network: bytes) -> None:
    with pytest.raises(RunError, match=r"own: import .*builder_layers first, which registers"):
        kept.rebuild(a_recipe(OWN), 2, network)
    assert "builder_layers" not in sys.modules


def test_a_registered_function_is_named_with_its_module(network: bytes) -> None:
    kept.rebuild(a_recipe(), 2, network)
    assert kept.own_classes(network) == dict.fromkeys(LAYERS, "builder_layers")


# --- the command line, in a process of its own each time ---------------------------------------


def sightline(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("sightline")
    return subprocess.run(
        [command, *arguments], cwd=folder, env=os.environ.copy(), capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def started(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command line is used in, with the module and a run of one epoch."""
    folder = tmp_path_factory.mktemp("started")
    (folder / "builder_layers.py").write_text(MODULE)
    settings = {
        "model.network": NAMED,
        "train.epochs": "1",
        "data.image_size": "[12,16]",
        "data.test": "0",
    }
    changes = [f"--set={name}={value}" for name, value in settings.items()]
    done = sightline(folder, "train", str(pictures), "--only-train", "--out", "run", *changes)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "run", "{pictures}", "--out", "predictions.csv"),
        ("evaluate", "run", "--data", "{pictures}/val"),
        ("export", "run", "--out", "exported.keras"),
        ("train", "--resume", "run", "--only-train", "--set", "train.epochs=2"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_command_line_opens_a_run_with_layers_of_its_function(
    started: Path, pictures: Path, arguments: tuple[str, ...]
) -> None:
    done = sightline(started, *(each.format(pictures=pictures) for each in arguments))
    assert done.returncode == 0, done.stderr

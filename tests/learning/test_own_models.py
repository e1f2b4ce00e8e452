"""Networks of the user's own: given as objects, or made by a function that the recipe names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from test_resuming import StopAt, differing
from tiny import SIZE, SMALL, small_recipe, write_splits

import sightline as sl
from sightline.errors import RecipeError, RunError
from sightline.learning.models import fitting, forward, kept, loading, own
from sightline.recipes import Recipe, load_recipe

FEW: dict[str, Any] = {
    "train.epochs": 2,
    "train.batch_size": 8,
    "data.test": 0,
    "checkpoint.steps": 1,
}
BINARY = "2 classes need Dense\\(1, activation='sigmoid'\\), or Dense\\(2, activation='softmax'\\)"
SEVERAL = "3 classes need Dense\\(3, activation='softmax'\\)"


# A file has its own date; what other code of this process drew before differs.
DATED = {"identity", "card", "randomness"}


def stacked(units: int = 1, activation: Any = "sigmoid", **last: Any) -> keras.Sequential:
    """Return a model with everything that has a state: batch normalisation, dropout."""
    return keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.3),
            layers.Dense(units, activation=activation, **last),
        ],
        name="stacked",
    )


@keras.saving.register_keras_serializable(package="tests")
class Doubling(keras.layers.Layer):
    """A layer of the user's own, registered."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(shape=(), initializer="ones", trainable=True)

    def call(self, inputs: Any) -> Any:
        return 2 * inputs * self.factor


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A model that only its call describes."""

    def __init__(self, units: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.pool = layers.GlobalAveragePooling2D()
        self.double = Doubling()
        self.head = layers.Dense(units, activation="sigmoid" if units == 1 else "softmax")

    def call(self, inputs: Any) -> Any:
        return self.head(self.double(self.pool(inputs)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Unregistered(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 1.0


def train(pictures: Path, out: Path, model: Any = None, **more: Any) -> sl.Run:
    changes = {**FEW, **more.pop("changes", {})}
    return sl.train(
        pictures,
        model=model,
        changes=changes,
        out=out,
        only_train=True,
        progress=sl.Silent(),
        **more,
    )


@pytest.fixture(scope="module")
def given(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A run of a sequential model, of the recipe `auto`."""
    return train(pictures, tmp_path_factory.mktemp("own") / "run", stacked())


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three classes."""
    counts = {"cat": 8, "dog": 8, "eel": 8}
    return write_splits(tmp_path_factory.mktemp("three"), counts, counts)


def plan_of(run: sl.Run) -> str:
    return " ".join(run.plan)


def test_a_model_that_was_given_is_trained_and_predicts(given: sl.Run, pictures: Path) -> None:
    assert given.recipe.model.network == "own"
    assert np.isfinite(sl.predict(given, pictures, progress=sl.Silent()).probabilities).all()


def test_the_models_input_decides_the_size_that_the_recipe_leaves_open(given: sl.Run) -> None:
    assert given.recipe.data.image_size == SIZE


def test_the_model_that_was_given_is_left_as_it_was(pictures: Path, tmp_path: Path) -> None:
    model = stacked()
    before = forward.get_weights(model)
    train(pictures, tmp_path / "run", model, changes={"train.epochs": 1})
    after = forward.get_weights(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_plan_says_that_its_own_optimizer_is_not_used(pictures: Path, tmp_path: Path) -> None:
    model = stacked()
    model.compile("sgd", "binary_crossentropy")
    run = train(pictures, tmp_path / "run", model)
    assert "What it was compiled with (SGD, its loss and metrics) is not used" in plan_of(run)


def test_training_begins_with_the_weights_that_the_model_has(
    pictures: Path, tmp_path: Path
) -> None:
    model = stacked()
    rate = {"train.epochs": 1, "train.learning_rate": 1e-12, "train.weight_decay": 0}
    run = train(pictures, tmp_path / "run", model, changes=rate)
    kernel = forward.get_weights(model)["000/kernel"]
    np.testing.assert_allclose(run.weights("best")["000/kernel"], kernel, atol=1e-6)


@pytest.mark.parametrize(
    "step", [7, pytest.param(2, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)]
)
def test_a_stopped_training_of_it_ends_as_if_it_had_not(
    step: int, given: sl.Run, pictures: Path, tmp_path: Path
) -> None:
    # The very same file: what is made anew has other initial weights.
    stopped = train(pictures, tmp_path / "run", kept_model(given), callbacks=[StopAt(step)])
    assert stopped.state == "interrupted"
    resumed = sl.train(resume=stopped.path, only_train=True, progress=sl.Silent())
    assert set(differing(given, resumed)) <= DATED


def kept_model(run: sl.Run) -> keras.Model:
    return keras.saving.load_model(run.path / "network.keras", compile=False)


def test_a_run_whose_network_was_exchanged_is_not_resumed(given: sl.Run, tmp_path: Path) -> None:
    shutil.copytree(given.path, tmp_path / "run")
    stacked().save(tmp_path / "run" / "network.keras")
    with pytest.raises(RunError, match=r"the network of .* are not those"):
        sl.train(resume=tmp_path / "run", changes={"train.epochs": 3}, progress=sl.Silent())


def test_a_run_that_lost_its_network_says_so(given: sl.Run) -> None:
    with pytest.raises(RunError, match=r"network\.keras is missing"):
        kept.rebuild(given.recipe, 2, None)


def test_a_damaged_network_says_so(given: sl.Run) -> None:
    with pytest.raises(RunError, match=r"cannot be opened.*damaged"):
        kept.rebuild(given.recipe, 2, b"no zip file")


def test_another_weights_order_gets_another_fingerprint(given: sl.Run, tmp_path: Path) -> None:
    shutil.copytree(given.path, tmp_path / "run")
    stacked().save(tmp_path / "run" / "network.keras")
    other = sl.open_run(tmp_path / "run")
    assert other.kept("best").fingerprint != given.kept("best").fingerprint


def test_a_subclassed_model_without_a_size_takes_the_recipes(
    pictures: Path, tmp_path: Path
) -> None:
    changes = {"data.image_size": SIZE, "data.channels": 3}
    run = train(pictures, tmp_path / "run", Subclassed(), changes=changes)
    assert np.isfinite(sl.predict(run, pictures, progress=sl.Silent()).probabilities).all()
    assert "It has tests>Subclassed of your own: import" in plan_of(run)


@pytest.mark.slow
def test_opening_a_run_without_the_users_module_names_it(pictures: Path, tmp_path: Path) -> None:
    changes = {"data.image_size": SIZE, "data.channels": 3, "train.epochs": 1}
    run = train(pictures, tmp_path / "run", Subclassed(), changes=changes)
    code = f"import sightline as sl; sl.predict({str(run.path)!r}, {str(pictures)!r})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "It has tests>Subclassed of your own: import test_own_models first" in (
        " ".join(ended.stderr.split())
    )


def test_settings_of_another_network_beside_a_model_are_refused(
    pictures: Path, tmp_path: Path
) -> None:
    message = r"model\.dropout would change nothing: the network is the model that was given"
    for changes in ({"model.dropout": [0.5], "model.l2": 0.1}, ["model.dropout=[0.5]"]):
        with pytest.raises(sl.RecipeError, match=message):
            sl.train(pictures, model=Subclassed(), out=tmp_path / "run", changes=changes)


def test_an_input_of_any_size_accepts_the_recipes(pictures: Path, tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 3))
    outputs = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(inputs))
    changes = {"data.image_size": [16, 24], "data.channels": 3}
    run = train(pictures, tmp_path / "run", keras.Model(inputs, outputs), changes=changes)
    assert run.recipe.data.image_size == (16, 24)
    assert run.history.table["val_loss"].is_finite().all()


def test_a_head_of_two_units_is_judged_as_one_of_one_unit(tmp_path: Path) -> None:
    one = stacked(1, "sigmoid", kernel_initializer="zeros", bias_initializer="ones")
    two = keras.Sequential([*one.layers[:-1], layers.Dense(2, activation="softmax")])
    two.build((None, *SIZE, 3))
    # softmax of (0, z) is sigmoid of z
    two.layers[-1].set_weights([np.zeros((4, 2), np.float32), np.array([0, 1], np.float32)])
    images = np.ones((3, *SIZE, 3), np.float32)
    np.testing.assert_allclose(
        forward.forward(one, images, batch_size=4),
        forward.forward(two, images, batch_size=4),
        atol=1e-6,
    )


def test_the_size_of_the_recipe_and_that_of_the_model_must_agree(
    pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"takes images of 12x16 .* data.image_size is 24x24"):
        train(pictures, tmp_path / "run", stacked(), changes={"data.image_size": [24, 24]})


def test_the_channels_of_the_recipe_and_those_of_the_model_must_agree(
    pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"takes 3 channels, and the recipe's data.channels is 1"):
        train(pictures, tmp_path / "run", stacked(), changes={"data.channels": 1})


def test_pixels_are_not_scaled_twice(pictures: Path, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((*SIZE, 3)), layers.Rescaling(1 / 255), stacked()])
    with pytest.raises(RecipeError, match=r"expects 0\.\.255 and would scale them once more"):
        train(pictures, tmp_path / "run", model)


def behind(*first: Any) -> keras.Model:
    """Return a network that begins with such layers, inside another."""
    inner = keras.Sequential([keras.Input((*SIZE, 3)), *first, layers.Conv2D(4, 3)])
    head = layers.Dense(1, activation="sigmoid")
    return keras.Sequential([inner, layers.GlobalAveragePooling2D(), head])


def adapted(most: int) -> keras.Layer:
    """Return a layer with the mean and variance of pixels of 0..most as its weights."""
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, most, (4, *SIZE, 3)).astype(np.float32))
    return layer


@pytest.mark.parametrize(
    "first",
    [
        lambda: layers.Rescaling(1 / 127.5, offset=-1),
        lambda: layers.Normalization(mean=[124, 116, 104], variance=[3410, 3262, 3292]),
        lambda: adapted(255),
    ],
)
def test_pixels_are_not_scaled_twice_by_a_network_inside(first: Callable[[], Any]) -> None:
    with pytest.raises(RecipeError, match=r"expects 0\.\.255 and would scale them once more"):
        own.refuse_double_scaling(small_recipe(), behind(first()))


def test_pixels_that_an_operation_changes_first_are_not_judged() -> None:
    inputs = keras.Input((*SIZE, 3))
    model = keras.Model(inputs, behind(layers.Rescaling(1 / 255))(inputs * 255))
    own.refuse_double_scaling(small_recipe(), model)


def test_colours_that_are_scaled_one_by_one_are_accepted() -> None:
    inputs = keras.Input((*SIZE, 3))
    scaled = [layers.Rescaling(factor)(inputs) for factor in (0.458, 0.448, 0.45)]
    head = layers.Conv2D(1, SIZE, activation="sigmoid")(layers.Concatenate()(scaled))
    own.refuse_double_scaling(small_recipe(), keras.Model(inputs, layers.Flatten()(head)))


def test_a_network_of_keras_that_scales_inside_is_noticed() -> None:
    backbone = keras.applications.MobileNetV3Small(
        (32, 32, 3), alpha=0.25, minimalistic=True, include_top=False, weights=None
    )
    head = layers.Dense(1, activation="sigmoid")
    model = keras.Sequential([backbone, layers.GlobalAveragePooling2D(), head])
    with pytest.raises(RecipeError, match=r"'1/255' changes the pixels .* its layer 'rescaling"):
        own.refuse_double_scaling(small_recipe(), model)


def test_an_imported_network_that_scales_inside_is_noticed() -> None:
    with pytest.raises(RecipeError, match=r"expects 0\.\.255 and would scale them once more"):
        loading.converted(behind(layers.Rescaling(1 / 255)), small_recipe(), 2)


@pytest.mark.parametrize(
    "first",
    [
        lambda: [layers.Rescaling(255), layers.Rescaling(1 / 255)],
        lambda: [layers.Normalization(mean=0.5, variance=0.05)],
        lambda: [adapted(1)],
        lambda: [layers.Conv2D(3, 1), layers.Rescaling(1 / 255)],
        lambda: [layers.Lambda(lambda pixels: pixels * 255), layers.Rescaling(1 / 255)],
    ],
)
def test_layers_that_take_scaled_pixels_are_accepted(first: Callable[[], list[Any]]) -> None:
    own.refuse_double_scaling(small_recipe(), behind(*first()))


def test_what_is_no_keras_model_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"must be a Keras 3 model .*, got builtins\.str"):
        train(pictures, tmp_path / "run", "resnet")


def test_an_unregistered_layer_is_refused_before_training(pictures: Path, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((*SIZE, 3)), Unregistered(), *stacked().layers])
    message = r"cannot be kept, .* later: Could not locate class 'Unregistered'.*Put @keras\.saving"
    with pytest.raises(RecipeError, match=message) as refused:
        train(pictures, tmp_path / "run", model)
    assert "config=" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_lambda_is_refused_before_training(pictures: Path, tmp_path: Path) -> None:
    doubled = layers.Lambda(lambda images: images * 2)
    model = keras.Sequential([keras.Input((*SIZE, 3)), doubled, *stacked().layers])
    with pytest.raises(RecipeError, match=r"Replace each Lambda by operations of keras.ops"):
        train(pictures, tmp_path / "run", model)


def test_a_model_is_not_given_beside_resume(given: sl.Run) -> None:
    with pytest.raises(RunError, match="model cannot be given as well"):
        sl.train(resume=given.path, model=stacked())


def test_own_without_a_model_says_how_to_give_one(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"sl\.train\(\.\.\., model=model\)"):
        train(pictures, tmp_path / "run", changes={"model.network": "own"})


def test_a_bias_that_was_learned_is_kept(pictures: Path, tmp_path: Path) -> None:
    model = stacked(bias_initializer="ones")
    run = train(pictures, tmp_path / "run", model, changes={"train.epochs": 1})
    assert not run.recipe.balance.initial_bias
    assert float(kept_model(run).layers[-1].bias.numpy()[0]) == 1


def test_layers_without_seeds_get_the_recipes() -> None:
    content = kept.content(stacked(), small_recipe(seed=7), 2)
    again = kept.content(stacked(), small_recipe(seed=7), 2)
    assert [seeds_of(content), seeds_of(again)] == [[7501], [7501]]
    assert not kept.draws_anew(content)


def seeds_of(content: bytes) -> list[int]:
    model = kept.rebuild(small_recipe(), 2, content)
    return [layer.seed for layer in model.layers if isinstance(layer, layers.Dropout)]


def test_a_model_made_in_the_scope_of_a_strategy_is_trained_in_it(
    pictures: Path, tmp_path: Path
) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute is TensorFlow's")
    strategy = tensorflow.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = stacked()
    seen = Scopes()
    run = train(pictures, tmp_path / "run", model, callbacks=[seen])
    assert seen.strategies == {"OneDeviceStrategy"}
    assert run.state == "finished"


class Scopes(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.strategies: set[str] = set()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.strategies.add(type(self.model.distribute_strategy).__name__)


# --- what fits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "activation", "classes"),
    [(1, "sigmoid", 2), (2, "softmax", 2), (3, "softmax", 3)],
)
def test_the_right_output_fits_and_no_other_number_of_classes(
    units: int, activation: str, classes: int
) -> None:
    model = stacked(units, activation)
    fitting.refuse_unfit(model, classes)
    with pytest.raises(RecipeError, match=f"{classes + 2} classes need"):
        fitting.refuse_unfit(model, classes + 2)


def own_softmax(x: Any) -> Any:
    return keras.ops.softmax(x, axis=-1)


def own_sigmoid(x: Any) -> Any:
    return keras.ops.sigmoid(x)


def test_an_unknown_activation_is_tried_and_fits_where_it_puts_out_probabilities() -> None:
    fitting.refuse_unfit(stacked(3, own_softmax), 3)
    with pytest.raises(RecipeError, match="on random images its rows sum to"):
        fitting.refuse_unfit(stacked(3, own_sigmoid), 3)


@pytest.mark.parametrize(
    ("units", "activation", "classes", "message"),
    [
        (1, "linear", 2, f"{BINARY}.*; got 1 unit with linear"),
        (1, "softmax", 2, "got 1 unit with softmax, which is always 1"),
        (2, "sigmoid", 2, f"{BINARY}.*; got 2 units with sigmoid"),
        (1, "sigmoid", 3, f"{SEVERAL}.*; got 1 unit with sigmoid"),
        (3, "sigmoid", 3, f"{SEVERAL}.*; got 3 units with sigmoid"),
        (4, "softmax", 3, f"{SEVERAL}.*; got 4 units with softmax"),
        (3, None, 3, f"{SEVERAL}.*; got 3 units with linear"),
        (3, "relu", 3, "got 3 units with relu"),
        (3, lambda x: x * 3, 3, "an activation of its own, and on random images"),
    ],
)
def test_a_wrong_output_is_refused_naming_the_right_one(
    units: int, activation: Any, classes: int, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        fitting.refuse_unfit(stacked(units, activation), classes)


def test_a_map_of_outputs_is_refused() -> None:
    model = keras.Sequential([keras.Input((*SIZE, 3)), layers.Conv2D(2, 3, activation="softmax")])
    with pytest.raises(RecipeError, match=r"\(10, 14, 2\) for each image.*GlobalAveragePooling2D"):
        fitting.refuse_unfit(model, 2)


def test_several_outputs_are_refused() -> None:
    inputs = keras.Input((*SIZE, 3))
    flat = layers.Flatten()(inputs)
    heads = [layers.Dense(1, activation="sigmoid")(flat) for _ in range(2)]
    with pytest.raises(RecipeError, match="has 1 inputs and 2 outputs"):
        fitting.refuse_unfit(keras.Model(inputs, heads), 2)


def test_probabilities_are_float32() -> None:
    with pytest.raises(RecipeError, match=r'puts out bfloat16.*dtype="float32"'):
        fitting.refuse_unfit(stacked(dtype="bfloat16"), 2)


Loss = Callable[[], Any] | str


@pytest.mark.parametrize(
    ("units", "loss", "message"),
    [
        (1, "categorical_crossentropy", "one sigmoid unit go with binary_crossentropy"),
        (2, "binary_crossentropy", "2 units with softmax go with categorical_crossentropy"),
        (2, "mse", "compiled with mean_squared_error; 2 classes"),
        (1, keras.losses.BinaryCrossentropy(from_logits=True), "Leave from_logits out"),
    ],
)
def test_a_wrong_loss_is_refused_naming_the_right_one(units: int, loss: Any, message: str) -> None:
    model = stacked(units, "sigmoid" if units == 1 else "softmax")
    model.compile(loss=loss)
    with pytest.raises(RecipeError, match=message):
        fitting.refuse_loss(model, 2, units)


@pytest.mark.parametrize(
    ("units", "loss"),
    [
        (1, "binary_crossentropy"),
        (2, keras.losses.SparseCategoricalCrossentropy()),
        (2, lambda true, given: given[:, 0] - true[:, 0]),
    ],
)
def test_the_right_loss_and_one_of_the_users_own_fit(units: int, loss: Any) -> None:
    model = stacked(units, "sigmoid" if units == 1 else "softmax")
    model.compile(loss=loss)
    fitting.refuse_loss(model, 2, units)
    model.compile(loss="mse")
    with pytest.raises(RecipeError, match="compiled with mean_squared_error"):
        fitting.refuse_loss(model, 2, units)


def test_a_wrong_loss_stops_the_training_before_it_begins(pictures: Path, tmp_path: Path) -> None:
    model = stacked()
    model.compile(loss="categorical_crossentropy")
    with pytest.raises(RecipeError, match="go with binary_crossentropy"):
        train(pictures, tmp_path / "run", model)


# --- functions --------------------------------------------------------------------------------

MODULE = """
import keras
from keras import layers
MADE = 0
def make(recipe, num_classes):
    size = (*recipe.data.image_size, recipe.data.channels)
    return keras.Sequential([
        keras.Input(size), layers.Flatten(), layers.Dropout(0.1),
        layers.Dense(num_classes, activation="softmax"),
    ], name="made")
def fails(recipe, num_classes):
    raise ZeroDivisionError("no such luck")
def wrong(recipe, num_classes):
    return "a model"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of the user's that other tests do not have."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "their_networks.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "their_networks", raising=False)
    return tmp_path


def theirs(named: str) -> Recipe:
    return load_recipe("basic", {**SMALL, "model.network": named})


def test_a_function_named_by_the_recipe_makes_the_network(here: Path, three: Path) -> None:
    run = train(three, here / "run", changes={"model.network": "their_networks:make"})
    assert run.recipe.model.network == "their_networks:make"
    assert kept_model(run).name == "made"


def test_a_run_of_a_function_is_opened_without_the_users_code(here: Path, three: Path) -> None:
    run = train(three, here / "run", changes={"model.network": "their_networks:make"})
    (here / "their_networks.py").unlink()
    del sys.modules["their_networks"]
    assert len(sl.predict(run, three, progress=sl.Silent())) == 48


def test_a_function_makes_the_same_network_from_the_same_seed(here: Path) -> None:
    recipe = theirs("their_networks:make")
    one, other = (forward.get_weights(own.called(recipe, 3, "float32")) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("missing_module:make", "there is no module 'missing_module', neither installed nor in"),
        ("gone.networks:make", "Start from the folder that has gone/networks.py"),
        ("their_networks:nothing", "their_networks.py has no function 'nothing'"),
        ("their_networks:fails", "and failed: ZeroDivisionError: no such luck"),
        ("their_networks:wrong", "returned str; it has to return a Keras model"),
    ],
)
def test_a_function_that_does_not_work_is_told_in_plain_words(
    here: Path, named: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        own.called(theirs(named), 3, "float32")


@pytest.mark.slow
def test_the_command_line_finds_the_function_in_the_current_folder(here: Path, three: Path) -> None:
    command = Path(sys.executable).with_name("sightline")
    arguments = ["train", str(three), "--only-train", "--out", "run", "--set", "train.epochs=1"]
    arguments += ["--set", "model.network=their_networks:make", "--set", "data.test=0"]
    ended = subprocess.run([command, *arguments], cwd=here, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert (here / "run" / "network.keras").exists()

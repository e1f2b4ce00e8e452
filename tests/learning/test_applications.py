"""Networks of keras.applications: their own scaling, weights from files, frozen then unfrozen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from test_own_models import DATED, train
from test_resuming import STEPS, StopAt, differing, newest, without_times
from tiny import SMALL

import sightline as sl
from sightline.errors import RecipeError, RunError
from sightline.learning.models import applications, exported, forward, networks
from sightline.learning.planning import networking
from sightline.learning.training.standing import Standing
from sightline.learning.training.telling import end_in_words
from sightline.recipes import Recipe, load_recipe
from sightline.records import ModelSummary
from tiny_backbone import tiny

NAMES = [name for name in dir(keras.applications) if name[0].isupper()]
FAMILIES = sorted({applications.family(getattr(keras.applications, name)) for name in NAMES})
FROZEN: dict[str, Any] = {
    "model.network": "applications/Tiny",
    "model.frozen_epochs": 1,
    "model.unfrozen_rate": 0.5,
    "train.epochs": 2,
    "train.weight_average": 0.9,
    "train.learning_rate": 0.01,
    "train.optimizer": "adam",
    "schedule.kind": "constant",
    "train.weight_decay": 0.0,
}


@pytest.fixture(scope="module", autouse=True)
def tiny_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "Tiny", tiny, raising=False)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny network, as if they came from elsewhere."""
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    model = tiny(include_top=False, weights=None, pooling="avg", input_shape=(12, 16, 3))
    model.save_weights(path)
    return path


@pytest.fixture(scope="module")
def thawed(pictures: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A run of an epoch with a frozen network, and one of all of it."""
    changes = {**FROZEN, "model.weights": str(weights)}
    return train(pictures, tmp_path_factory.mktemp("apps") / "run", changes=changes)


def recipe_for(name: str, **changes: Any) -> Recipe:
    network = {"model.network": f"applications/{name}", "data.scaling": "none"}
    return load_recipe("basic", {**SMALL, **network, **changes})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scaling_inside_is_that_of_keras(family: str) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 3)).astype(np.float32)
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    inputs = keras.Input((3, 4, 3))
    scaled = keras.Model(inputs, applications.scaled(inputs, family))(pixels)
    wanted = sys.modules[f"keras.src.applications.{family}"].preprocess_input(pixels.copy())
    np.testing.assert_allclose(np.asarray(scaled), wanted, atol=1e-4)


def test_pixels_turned_into_bgr_are_kept_in_an_h5_file(tmp_path: Path) -> None:
    inputs = keras.Input((3, 4, 3))
    model = keras.Model(inputs, applications.scaled(inputs, "vgg16"))
    exported.save(model, tmp_path / "bgr.h5", "h5")
    again = keras.models.load_model(tmp_path / "bgr.h5", compile=False)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(*(np.asarray(each(pixels)) for each in (model, again)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lost"),
    [("VGG16", ""), ("ResNet50", ""), ("MobileNetV3Small", "Add, Multiply"), ("ConvNeXtTiny", "A")],
)
def test_an_h5_file_that_is_written_opens(name: str, lost: str, tmp_path: Path) -> None:
    model = networks.build(recipe_for(name, **{"data.image_size": (32, 32)}), 2)
    if lost:
        with pytest.raises(RunError, match=f"it has {lost}.* Export it with --keras"):
            exported.save(model, tmp_path / "x.h5", "h5")
        return
    exported.save(model, tmp_path / "x.h5", "h5")
    again = keras.models.load_model(tmp_path / "x.h5", compile=False)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    answers = [np.asarray(each(pixels, training=False)) for each in (model, again)]
    np.testing.assert_allclose(*answers, atol=1e-6)


def test_grey_images_are_given_three_times() -> None:
    model = networks.build(recipe_for("Tiny", **{"data.channels": 1}), 2)
    grey = model.get_layer("grey_to_rgb")
    assert grey.output.shape[-1] == 3


@pytest.mark.parametrize("scaling", ["mean-std", "per-image"])
def test_another_scaling_than_the_networks_own_is_refused(scaling: str) -> None:
    with pytest.raises(RecipeError, match=r"scales its input itself.*data\.scaling=none"):
        applications.unscaled(recipe_for("Tiny", **{"data.scaling": scaling}))


def test_pixels_reach_the_network_unscaled(thawed: sl.Run) -> None:
    assert thawed.recipe.data.scaling == "none"
    assert any("Pixels go in as 0..255" in sentence for sentence in thawed.plan)


def test_an_unknown_network_is_refused_with_those_of_like_names() -> None:
    with pytest.raises(RecipeError, match="no 'Resnet50'; did you mean ResNet50"):
        networks.build(recipe_for("Resnet50"), 2)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(RecipeError, match="12x16 does not go with applications/MobileNetV3Small"):
        networks.build(recipe_for("MobileNetV3Small"), 2)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ConvNeXtTiny", "convnext_tiny_notop.h5"),
        ("DenseNet121", "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("EfficientNetB0", "efficientnetb0_notop.h5"),
        ("EfficientNetV2B0", "efficientnetv2-b0_notop.h5"),
        ("InceptionV3", "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("MobileNetV3Small", "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"),
        ("NASNetMobile", "nasnet_mobile_no_top.h5"),
        ("ResNet50V2", "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("VGG16", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ],
)
def test_a_missing_file_is_named_as_keras_calls_it(name: str, file: str, tmp_path: Path) -> None:
    assert applications.weights_name(recipe_for(name)) == file


def test_missing_weights_say_where_such_a_file_comes_from(tmp_path: Path) -> None:
    recipe = recipe_for("Tiny", **{"model.weights": str(tmp_path / "none.h5")})
    with pytest.raises(RecipeError, match=r"downloads nothing.*include_top=False.*no_top\.h5"):
        networks.build(recipe, 2)


@pytest.mark.parametrize("verb", [sl.train, sl.find_learning_rate])
def test_missing_weights_are_noticed_before_the_images_are_looked_at(
    verb: Callable[..., Any], tmp_path: Path
) -> None:
    changes = {"model.network": "applications/Tiny", "model.weights": str(tmp_path / "none.h5")}
    with pytest.raises(RecipeError, match=r"none\.h5 does not exist.*include_top=False"):
        verb(tmp_path / "no images", changes=changes, progress=sl.Silent())


def test_weights_in_the_home_folder_are_found(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(weights.parent))
    model = networks.build(recipe_for("Tiny", **{"model.weights": f"~/{weights.name}"}), 2)
    kernel = forward.get_weights(model.get_layer(applications.BACKBONE))["000/kernel"]
    loaded = tiny(include_top=False, weights=None, pooling="avg", input_shape=(12, 16, 3))
    loaded.load_weights(weights)
    np.testing.assert_array_equal(kernel, forward.get_weights(loaded)["000/kernel"])


def test_a_home_folder_of_nobody_is_no_file() -> None:
    recipe = recipe_for("Tiny", **{"model.weights": "~nobody-of-this-name/x.h5"})
    with pytest.raises(RecipeError, match=r"~nobody-of-this-name/x\.h5 does not exist"):
        networks.build(recipe, 2)


def test_a_file_that_is_no_h5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.keras").write_bytes(b"")
    recipe = recipe_for("Tiny", **{"model.weights": str(tmp_path / "some.keras")})
    with pytest.raises(RecipeError, match=r"is no \.h5 file"):
        networks.build(recipe, 2)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_of_another_shape_are_refused(ending: str, tmp_path: Path) -> None:
    inputs = keras.Input((12, 16, 3))
    x = layers.Conv2D(5, 3, use_bias=False)(inputs)
    other = keras.Model(inputs, layers.BatchNormalization()(x))
    path = tmp_path / f"other{ending}"
    other.save_weights(path) if ending == ".weights.h5" else legacy(other, path)
    recipe = recipe_for("Tiny", **{"model.weights": str(path)})
    with pytest.raises(RecipeError, match="does not fit applications/Tiny without its top"):
        networks.build(recipe, 2)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_of_another_network_are_refused(ending: str, tmp_path: Path) -> None:
    inputs = keras.Input((12, 16, 3))
    other = keras.Model(inputs, layers.Conv2D(5, 3)(inputs))
    path = tmp_path / f"other{ending}"
    other.save_weights(path) if ending == ".weights.h5" else legacy(other, path)
    recipe = recipe_for("Tiny", **{"model.weights": str(path)})
    message = "does not fit applications/Tiny without its top: it holds 2 arrays, .* has 5"
    with pytest.raises(RecipeError, match=message):
        networks.build(recipe, 2)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_of_a_network_with_a_top_are_refused(ending: str, tmp_path: Path) -> None:
    whole = tiny(include_top=False, weights=None, pooling="avg", input_shape=(12, 16, 3))
    whole = keras.Model(whole.inputs[0], layers.Dense(3)(whole.outputs[0]))
    path = tmp_path / f"whole{ending}"
    whole.save_weights(path) if ending == ".weights.h5" else legacy(whole, path)
    recipe = recipe_for("Tiny", **{"model.weights": str(path)})
    with pytest.raises(RecipeError, match=r"holds 7 arrays, and the network has 5.*has a top"):
        networks.build(recipe, 2)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_are_those_of_the_file(ending: str, tmp_path: Path) -> None:
    source = tiny(include_top=False, weights=None, pooling="avg", input_shape=(12, 16, 3))
    path = tmp_path / f"good{ending}"
    source.save_weights(path) if ending == ".weights.h5" else legacy(source, path)
    model = networks.build(recipe_for("Tiny", **{"model.weights": str(path)}), 2)
    there = forward.get_weights(model.get_layer(applications.BACKBONE))
    wanted = forward.get_weights(source)
    assert all(np.array_equal(there[name], wanted[name]) for name in wanted)


def legacy(model: keras.Model, path: Path) -> None:
    """Write weights as Keras' downloads have them."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


# --- frozen, then not -------------------------------------------------------------------------


class Phases(keras.callbacks.Callback):
    """Notes the backbone's weights at each epoch's end, and how many variables learn."""

    def __init__(self) -> None:
        super().__init__()
        self.backbones: list[dict[str, Any]] = []
        self.learning: list[int] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == STEPS - 1:
            backbone = self.model.get_layer(applications.BACKBONE)
            self.backbones.append(forward.get_weights(backbone))
            self.learning.append(len(self.model.trainable_variables))


@pytest.fixture(scope="module")
def phases(pictures: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Phases:
    seen = Phases()
    changes = {**FROZEN, "model.weights": str(weights)}
    train(pictures, tmp_path_factory.mktemp("apps") / "run", changes=changes, callbacks=[seen])
    return seen


def test_at_first_only_the_head_learns(phases: Phases, weights: Path) -> None:
    model = tiny(include_top=False, weights=None, pooling="avg", input_shape=(12, 16, 3))
    model.load_weights(weights)
    loaded = forward.get_weights(model)
    assert phases.learning == [2, 5]
    assert all(np.array_equal(phases.backbones[0][name], loaded[name]) for name in loaded)


def test_then_everything_learns(phases: Phases) -> None:
    frozen, thawed = phases.backbones
    assert not any(np.array_equal(frozen[name], thawed[name]) for name in frozen)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "It starts from random weights: model.weights names no file of trained ones."),
        ({"model.weights": "a.h5"}, "Its weights come from a.h5; all of them learn."),
        (
            {"model.weights": "a.h5", "model.frozen_epochs": 1},
            "Its weights come from a.h5. In epoch 1 only the new head learns; then everything, at "
            "0.1 of the learning rate, with a fresh optimizer.",
        ),
        (
            {"model.weights": "a.h5", "model.frozen_epochs": 2},
            "Its weights come from a.h5. In all epochs only the new head learns "
            "(model.frozen_epochs 2).",
        ),
    ],
)
def test_the_plan_says_where_weights_come_from_and_which_learn(
    changes: dict[str, Any], said: str
) -> None:
    recipe = recipe_for("Tiny", **changes)
    summary = ModelSummary((), 0, 0)
    assert networking.in_words(recipe, summary, None)[1:] == [said]


def test_then_the_learning_rate_is_lower(thawed: sl.Run) -> None:
    np.testing.assert_allclose(thawed.history.table["learning_rate"], [0.01, 0.005], rtol=1e-6)


def test_what_a_callback_makes_of_the_rate_holds_as_the_network_thaws(
    pictures: Path, weights: Path, tmp_path: Path
) -> None:
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.03 / (epoch + 1))
    changes = {**FROZEN, "model.weights": str(weights), "train.batch_size": 33}
    run = train(pictures, tmp_path / "run", changes=changes, callbacks=[scheduler])
    np.testing.assert_allclose(run.history.table["learning_rate"], [0.03, 0.015], rtol=1e-6)


def test_a_schedule_has_the_last_word_where_the_network_thaws(
    pictures: Path, weights: Path, tmp_path: Path
) -> None:
    changes = {**FROZEN, "model.weights": str(weights), "schedule.kind": "cosine"}
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.5)
    plain, run = (
        train(pictures, tmp_path / name, changes=changes, callbacks=given)
        for name, given in (("plain", []), ("run", [scheduler]))
    )
    assert run.history["loss"].to_list() == plain.history["loss"].to_list()


@pytest.mark.slow
def test_more_epochs_for_a_head_that_stopped_early_let_everything_learn(
    pictures: Path, weights: Path, tmp_path: Path
) -> None:
    never = {"stop.patience": 1, "stop.min_delta": 99.0, "train.epochs": 4}
    quick = {"train.batch_size": 33, "model.frozen_epochs": 4}
    changes = {**FROZEN, **never, **quick, "model.weights": str(weights)}
    run = train(pictures, tmp_path / "run", changes=changes)
    assert len(run.history) == 2
    more = {"train.epochs": 9}
    again = sl.train(resume=run.path, changes=more, only_train=True, progress=sl.Silent())
    assert len(again.history) == 6


@pytest.mark.parametrize(("frozen", "stops_after"), [(3, 5), (6, 2)])
def test_patience_begins_where_everything_learns_if_it_ever_does(
    frozen: int, stops_after: int, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    # By so much no epoch is better than another: it stops as soon as it may.
    never = {"stop.patience": 1, "stop.min_delta": 99.0, "train.epochs": 6}
    quick = {"train.batch_size": 33, "model.frozen_epochs": frozen}
    changes = {**FROZEN, **never, **quick, "model.weights": str(weights)}
    run = train(pictures, tmp_path / "run", changes=changes)
    reason = f"Stopped early after {stops_after} epochs: no better val_loss for 1."
    assert run.info["reason"] == reason


@pytest.mark.parametrize(("seconds", "said"), [(40.0, True), (10.0, False)])
def test_an_end_before_the_network_thaws_is_told(seconds: float, said: bool) -> None:
    minutes = {"stop.minutes": 1.0, "train.epochs": 6, "model.frozen_epochs": 2}
    recipe = recipe_for("Tiny", **minutes, **{"model.weights": "not_read.h5"})
    standing, done = Standing.of(recipe, STEPS, 2), 0
    while not standing.is_late(recipe.stop.minutes):
        standing.epoch_done(seconds)
        done += 1
    words = " Only the head has learnt yet: model.frozen_epochs is 2."
    assert end_in_words(done, recipe, standing).endswith(words) is said


@pytest.mark.parametrize(
    "step",
    [STEPS + 1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, STEPS, 2 * STEPS))],
)
def test_stopped_in_any_phase_it_ends_as_if_it_had_not(
    step: int, thawed: sl.Run, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    changes = {**FROZEN, "model.weights": str(weights)}
    stopped = train(pictures, tmp_path / "run", changes=changes, callbacks=[StopAt(step)])
    assert stopped.state == "interrupted"
    resumed = sl.train(resume=stopped.path, only_train=True, progress=sl.Silent())
    assert set(differing(thawed, resumed)) <= DATED


@pytest.mark.slow
def test_stopped_between_the_phases_it_ends_as_if_it_had_not(
    thawed: sl.Run, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    changes = {**FROZEN, "model.weights": str(weights), "train.epochs": 1}
    first = train(pictures, tmp_path / "run", changes=changes)
    more = {"train.epochs": 2}
    resumed = sl.train(resume=first.path, changes=more, only_train=True, progress=sl.Silent())
    assert set(differing(thawed, resumed)) <= DATED | {"standing"}
    stood = [without_times(newest(run).meta)["standing"] for run in (thawed, resumed)]
    assert [one.pop("planned") for one in stood] == [2, 1]  # how many epochs it began with
    assert stood[0] == stood[1]


def test_a_run_needs_its_file_of_weights_no_more(
    pictures: Path, weights: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "mine.weights.h5"
    copied.write_bytes(weights.read_bytes())
    changes = {**FROZEN, "model.weights": str(copied)}
    run = train(pictures, tmp_path / "run", changes=changes, callbacks=[StopAt(2)])
    copied.unlink()
    resumed = sl.train(resume=run.path, only_train=True, progress=sl.Silent())
    assert resumed.state == "finished"


@pytest.mark.slow
def test_efficientnets_own_files_are_read_as_keras_reads_them(tmp_path: Path) -> None:
    source = keras.applications.EfficientNetB0(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3)
    )
    scaling = next(each for each in source.layers if isinstance(each, layers.Normalization))
    scaling.adapt_mean.assign([0.485, 0.456, 0.406])
    scaling.adapt_variance.assign([0.229, 0.224, 0.225])  # as in Keras' files
    source.save_weights(tmp_path / "b0.weights.h5")
    changes = {"model.weights": str(tmp_path / "b0.weights.h5"), "data.image_size": (32, 32)}
    model = networks.build(recipe_for("EfficientNetB0", **changes), 2)
    inner = model.get_layer(applications.BACKBONE)
    found = next(each for each in inner.layers if isinstance(each, layers.Normalization))
    white = keras.ops.convert_to_numpy(found(np.ones((1, 1, 1, 3), np.float32)))
    np.testing.assert_allclose(
        white.ravel(), (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-3
    )


@pytest.mark.slow
def test_a_real_network_is_trained_and_predicts(pictures: Path, tmp_path: Path) -> None:
    changes = {"model.network": "applications/MobileNetV3Small", "data.image_size": (32, 32)}
    run = train(pictures, tmp_path / "run", changes={**changes, "train.epochs": 1})
    assert np.isfinite(sl.predict(run, pictures, progress=sl.Silent()).probabilities).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ConvNeXtTiny", "EfficientNetV2B0", "NASNetMobile", "VGG16"])
def test_other_families_can_be_kept(name: str) -> None:
    from sightline.learning.models import kept

    recipe = recipe_for(name, **{"data.image_size": (32, 32)})
    model = networks.build(recipe, 2)
    again = kept.rebuild(recipe, 2, kept.content(model, recipe, 2))
    assert forward.get_weights(again).keys() == forward.get_weights(model).keys()

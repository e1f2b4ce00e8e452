"""Networks as one: means of weights and of probabilities, and batch statistics taken anew."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from sightline.learning.models import backend

backend.choose()

import keras  # noqa: E402

from sightline.learning.models import composing, forward  # noqa: E402
from sightline.recipes import load_recipe  # noqa: E402

SIDE = 6  # px
RECIPE = load_recipe("basic", changes={"data.image_size": [SIDE, SIDE], "data.channels": 1})


def network(seed: int) -> keras.Model:
    """Return a network with batch statistics and dropout, and weights of its own."""
    layers = [
        keras.layers.Conv2D(3, 3, kernel_initializer=keras.initializers.GlorotUniform(seed)),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Flatten(),
        keras.layers.Dense(
            3, activation="softmax", kernel_initializer=keras.initializers.GlorotUniform(seed + 1)
        ),
    ]
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), *layers])


def pixels(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).random((count, SIDE, SIDE, 1), dtype=np.float32)


def said(model: keras.Model, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def test_a_soup_of_one_network_and_itself_is_that_network() -> None:
    first, second = network(1), network(2)
    forward.set_weights(second, forward.get_weights(first))
    before = said(first, pixels(8))
    composing.average_weights([composing.Part(each, RECIPE) for each in (first, second)])
    np.testing.assert_array_equal(said(first, pixels(8)), before)


def test_a_soup_has_the_mean_of_each_weight() -> None:
    first, second = network(1), network(2)
    expected = {
        name: (array + forward.get_weights(second)[name]) / 2
        for name, array in forward.get_weights(first).items()
    }
    composing.average_weights([composing.Part(each, RECIPE) for each in (first, second)])
    for name, array in forward.get_weights(first).items():
        np.testing.assert_allclose(array, expected[name], atol=1e-7)


def test_batch_statistics_are_the_mean_over_the_images_and_nothing_else_changes() -> None:
    model, batches = network(1), [pixels(16, 0), pixels(16, 1), pixels(4, 2)]
    convolution, normaliser, dropout = model.layers[:3]
    before = forward.get_weights(model)
    assert composing.estimate_statistics(model, [0], iter(batches)) == 36
    seen = [np.asarray(keras.ops.convert_to_numpy(convolution(each))) for each in batches]
    shares = [len(each) / 36 for each in batches]
    mean = np.average([each.mean(axis=(0, 1, 2)) for each in seen], axis=0, weights=shares)
    variance = np.average([each.var(axis=(0, 1, 2)) for each in seen], axis=0, weights=shares)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(normaliser.moving_mean), mean, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(normaliser.moving_variance), variance, rtol=1e-4
    )
    assert (normaliser.momentum, dropout.rate, normaliser.trainable) == (0.99, 0.5, True)
    changed = {
        name
        for name, array in forward.get_weights(model).items()
        if not np.array_equal(array, before[name])
    }
    assert len(changed) == 2


def test_only_statistics_that_differ_are_taken_anew() -> None:
    models = [network(1), network(2)]
    parts = [composing.Part(each, RECIPE) for each in models]
    assert composing.unlike_statistics(parts) == []
    models[1].layers[1].moving_mean.assign([1.0, 2.0, 3.0])
    assert composing.unlike_statistics(parts) == [0]
    before = forward.get_weights(models[0])
    composing.estimate_statistics(models[0], [], [pixels(16)])
    for name, array in forward.get_weights(models[0]).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("first", [0, 1])
def test_members_of_unlike_size_and_colour_see_what_they_saw_alone(first: int) -> None:
    data = {"image_size": [9, 9], "channels": 3, "scaling": "none", "quality": "best"}
    data["background"] = [0, 0, 0]
    large = load_recipe("basic", changes={f"data.{key}": value for key, value in data.items()})
    recipes = [RECIPE, large] if not first else [large, RECIPE]
    common = composing.common_input(recipes)
    assert (common.data.image_size, common.data.channels) == ((9, 9), 3)
    assert (common.data.quality, common.data.background) == ("best", (0, 0, 0))
    model = network(1)
    inside = composing.member(composing.Part(model, RECIPE), 0, recipes, 3)
    tones = np.array([10, 120, 250], np.float32)
    images = np.ones((3, 9, 9, 3), np.float32) * tones[:, None, None, None]
    own = np.ones((3, SIDE, SIDE, 1), np.float32) * tones[:, None, None, None] / 255
    np.testing.assert_allclose(said(inside, images), said(model, own), atol=1e-4)


def test_one_sigmoid_unit_stands_beside_two_units() -> None:
    image = keras.Input((SIDE, SIDE, 1))
    flat = keras.layers.Flatten()(image)
    models = [
        keras.Model(image, keras.layers.Dense(units, activation=way)(flat))
        for units, way in ((1, "sigmoid"), (2, "softmax"))
    ]
    recipes, images = [RECIPE] * 2, pixels(8)
    inside = [
        composing.member(composing.Part(each, RECIPE), place, recipes, 2)
        for place, each in enumerate(models)
    ]
    one, two = (said(each, images) for each in models)
    whole = said(composing.composed(inside, np.array([0.5, 0.5])), images)
    np.testing.assert_allclose(whole[:, 1], (one[:, 0] + two[:, 1]) / 2, atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-6)


def test_a_member_with_flips_says_the_mean_over_mirrored_images() -> None:
    model, images = network(1), pixels(8)
    part = composing.Part(model, RECIPE, ("horizontal", "vertical"))
    inside = composing.member(part, 0, [RECIPE], 3)
    both = [images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]]
    expected = np.mean([said(model, each) for each in both], axis=0)
    np.testing.assert_allclose(said(inside, images), expected, atol=1e-6)


def test_the_whole_says_the_weighted_mean_and_leaves_out_what_has_no_weight() -> None:
    models, images = [network(seed) for seed in (1, 2, 3)], pixels(8)
    recipes = [RECIPE] * 3
    inside = [
        composing.member(composing.Part(each, RECIPE), place, recipes, 3)
        for place, each in enumerate(models)
    ]
    whole = composing.composed(inside, np.array([0.75, 0.0, 0.25]))
    expected = 0.75 * said(models[0], images) + 0.25 * said(models[2], images)
    np.testing.assert_allclose(said(whole, images), expected, atol=1e-6)
    assert whole.count_params() == 2 * models[0].count_params()

"""Networks as one: means of weights and of probabilities, and batch statistics taken anew."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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


def test_batch_statistics_are_the_mean_over_the_batches_and_nothing_else_changes() -> None:
    model, batches = network(1), [pixels(16, seed) for seed in range(4)]
    convolution, normaliser, dropout = model.layers[:3]
    before = forward.get_weights(model)
    composing.estimate_statistics(model, batches)
    seen = [np.asarray(keras.ops.convert_to_numpy(convolution(each))) for each in batches]
    mean = np.mean([each.mean(axis=(0, 1, 2)) for each in seen], axis=0)
    variance = np.mean([each.var(axis=(0, 1, 2)) for each in seen], axis=0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(normaliser.moving_mean), mean, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(normaliser.moving_variance), variance, rtol=1e-4
    )
    assert (normaliser.momentum, dropout.rate) == (0.99, 0.5)
    changed = {
        name
        for name, array in forward.get_weights(model).items()
        if not np.array_equal(array, before[name])
    }
    assert len(changed) == 2


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

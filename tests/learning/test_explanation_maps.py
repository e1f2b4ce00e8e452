"""The four kinds of maps, against what can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny  # noqa: F401  (chooses a backend before Keras is imported)

# isort: split
import keras
from keras import layers

from sightline.learning.explanation import METHODS, Probe
from sightline.learning.explanation.maps import enlarged, gradcam, occlusion, unit

SHAPE = (4, 4, 1)
RNG = np.random.default_rng(7)


def pooled(activation: str = "softmax") -> Probe:
    """Return x -> (x, -x) -> mean -> two scores: m - 3(-m)... of the mean m: -2m and 3m."""
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(2, 1, use_bias=False, name="seen"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation=activation),
        ]
    )
    model.layers[0].set_weights([np.array([[[[1.0, -1.0]]]])])
    model.layers[-1].set_weights([np.array([[1.0, 2.0], [3.0, -1.0]]), np.zeros(2)])
    return Probe.of(model, SHAPE)


def linear(weights: npt.NDArray[Any]) -> Probe:
    """Return a network whose logit is the sum of pixels times weights."""
    shape = (*weights.shape, 1)
    model = keras.Sequential(
        [keras.Input(shape), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    )
    model.set_weights([weights.reshape(-1, 1), np.zeros(1)])
    return Probe.of(model, shape)


def deep() -> Probe:
    """Return a network of two convolutions with random weights."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((16, 12, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", kernel_initializer="he_normal"),
        ]
    )
    return Probe.of(model, (16, 12, 3))


def noise(count: int, shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.float32]:
    return np.asarray(np.random.default_rng(5).normal(size=(count, *shape)), np.float32)


def made_by(method: str, probe: Probe, images: Any, targets: list[int]) -> npt.NDArray[Any]:
    return METHODS[method](probe, images, np.asarray(targets), None).maps


# --- Grad-CAM --------------------------------------------------------------------------


def test_gradcam_is_what_the_formula_gives_by_hand() -> None:
    image = noise(1)
    # The weights of class 1 are 2/16 and -1/16, so the map is (2 x + x) / 16.
    expected = np.maximum(image[0, ..., 0], 0)
    found = made_by("gradcam", pooled(), image, [1])
    np.testing.assert_allclose(found[0], expected / expected.max(), atol=1e-6)


def test_gradcam_of_another_class_shows_other_places() -> None:
    image = noise(1)
    # The weights of class 0 are 1/16 and 3/16, so the map is (x - 3 x) / 16.
    expected = np.maximum(-image[0, ..., 0], 0)
    found = made_by("gradcam", pooled(), image, [0])
    np.testing.assert_allclose(found[0], expected / expected.max(), atol=1e-6)


def test_gradcam_plus_plus_is_what_the_formula_gives_by_hand() -> None:
    image = noise(1)
    x = image[0, ..., 0].astype(np.float64)
    weights = []
    for features, slope in ((x, 2 / 16), (-x, -1 / 16)):
        share = slope**2 / (2 * slope**2 + features.sum() * slope**3)
        weights.append(16 * share * max(slope, 0))
    expected = np.maximum(weights[0] * x - weights[1] * x, 0)
    found = made_by("gradcam++", pooled(), image, [1])
    np.testing.assert_allclose(found[0], expected / expected.max(), atol=1e-5)


def test_gradcam_is_taken_from_the_logit_where_the_probability_is_1() -> None:
    image = np.full((1, *SHAPE), 1000, np.float32)
    assert made_by("gradcam", pooled(), image, [1]).max() == 1


def test_one_sigmoid_unit_speaks_for_either_class() -> None:
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(1, 1),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    found = made_by("gradcam", Probe.of(model, SHAPE), np.repeat(noise(1), 2, axis=0), [0, 1])
    assert not (found[0] * found[1]).any()
    assert found.max(axis=(1, 2)).tolist() == [1, 1]


def test_rows_that_the_output_knows_nothing_of_are_left_out() -> None:
    model = keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            layers.Conv2D(1, 1, use_bias=False),
            layers.MaxPooling2D(2),  # drops the fifth row and column
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.ones((1, 1)), np.zeros(1)])
    image = np.full((1, 5, 5, 1), 0.1, np.float32)
    image[0, 4] = 9
    image[0, :4, :4, 0] = RNG.random((4, 4))
    found = made_by("gradcam", Probe.of(model, (5, 5, 1)), image, [1])[0]
    assert not found[4].any()
    assert not found[:, 4].any()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_maps_are_in_0_to_1_at_the_size_of_the_input(method: str) -> None:
    found = made_by(method, deep(), noise(3, (16, 12, 3)), [0, 1, 2])
    assert found.shape == (3, 16, 12)
    assert found.dtype == np.float32
    assert found.min() >= 0
    np.testing.assert_array_equal(found.max(axis=(1, 2)), 1)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_map_does_not_depend_on_the_batch_it_is_made_in(method: str) -> None:
    probe, images = deep(), noise(34, (16, 12, 3))  # more than one step
    alone = made_by(method, probe, images[33:], [1])
    together = made_by(method, probe, images, [0] * 33 + [1])
    np.testing.assert_allclose(together[33], alone[0], atol=1e-4)


# --- occlusion -------------------------------------------------------------------------


def test_occlusion_of_a_linear_model_is_its_weighted_pixels() -> None:
    weights = RNG.normal(size=(12, 12)).astype(np.float32)
    image = noise(1, (12, 12, 1))
    lost = weights * (image[0, ..., 0] - image[0, ..., 0].mean())
    falls, boxes = np.zeros((12, 12)), np.zeros((12, 12))
    for top in range(11):  # boxes of 2x2, moved by 1
        for left in range(11):
            box = np.s_[top : top + 2, left : left + 2]
            falls[box] += max(lost[box].sum() - 1e-3, 0)
            boxes[box] += 1
    expected = falls / boxes
    found = occlusion(linear(weights), image, np.array([1])).maps[0]
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)


def test_occlusion_finds_the_one_pixel_that_counts() -> None:
    weights, image = np.zeros((12, 12), np.float32), np.zeros((1, 12, 12, 1), np.float32)
    weights[5, 8], image[0, 5, 8] = 1, 1
    found = occlusion(linear(weights), image, np.array([1])).maps[0]
    assert np.argwhere(found > 0).min(axis=0).tolist() == [4, 7]
    assert np.argwhere(found > 0).max(axis=0).tolist() == [6, 9]
    assert found[5, 8] == 1


def test_occlusion_shows_nothing_where_no_box_changes_the_score() -> None:
    found = occlusion(linear(np.zeros((12, 12), np.float32)), noise(1, (12, 12, 1)), np.array([1]))
    assert not found.maps.any()


# --- integrated gradients --------------------------------------------------------------


def test_integrated_gradients_of_a_linear_model_are_its_weighted_pixels() -> None:
    weights, image = RNG.normal(size=(10, 10)).astype(np.float32), noise(1, (10, 10, 1))
    expected = np.maximum(weights * (image[0, ..., 0] - image.mean()), 0)
    limit = np.percentile(expected[expected > 0], 99.5)
    found = made_by("integrated-gradients", linear(weights), image, [1])[0]
    np.testing.assert_allclose(found, np.minimum(expected / limit, 1), atol=1e-5)


def test_attributions_add_up_to_the_difference_of_the_outputs() -> None:
    probe, images = deep(), 3 * noise(6, (16, 12, 3))
    targets = np.arange(6) % 3
    measured = METHODS["integrated-gradients"](probe, images, targets, None).measured
    plain = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    rows = np.arange(6)
    between = (probe.scores(images) - probe.scores(np.ascontiguousarray(plain)))[rows, targets]
    np.testing.assert_allclose(measured["difference"], between, atol=1e-5)
    assert np.abs(between).max() > 0.1  # else the sums would prove nothing
    np.testing.assert_allclose(measured["sum"], between, atol=0.01)


# --- scaling ---------------------------------------------------------------------------


def test_maps_are_enlarged_between_the_middles_of_their_cells() -> None:
    found = enlarged(np.array([[[0.0, 1.0]]]), (1, 4))
    np.testing.assert_allclose(found[0, 0], [0, 0.25, 0.75, 1])


def test_what_speaks_against_the_class_is_cut_off() -> None:
    assert unit(np.array([[[-3.0, 0.0, 2.0, 4.0]]]))[0, 0].tolist() == [0, 0, 0.5, 1]


def test_a_map_of_what_is_no_number_is_empty() -> None:
    assert not unit(np.array([[[np.nan, np.inf, -np.inf]]])).any()


def test_gradcam_looks_into_the_layer_that_is_named() -> None:
    probe = deep()
    first = probe.place(probe.places[0].name)
    images = noise(1, (16, 12, 3))
    found = gradcam(probe, images, np.array([0]), first).maps
    assert not np.allclose(found, made_by("gradcam", probe, images, [0]), atol=0.01)

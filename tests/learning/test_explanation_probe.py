"""Networks of every kind that can be asked: which layer is looked into, what the logits are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tiny import SMALL, small_recipe

# isort: split
import keras
from keras import layers

from sightline.errors import DataError
from sightline.learning.explanation import Probe, feature_maps, first_filters
from sightline.learning.explanation.maps import gradcam
from sightline.learning.models import networks
from sightline.recipes import load_recipe

SHAPE = (12, 16, 3)


@keras.saving.register_keras_serializable(package="tests")
class Block(keras.layers.Layer):
    """A residual block as a layer with layers inside."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.inner = layers.Conv2D(3, 3, padding="same")

    def call(self, inputs: Any) -> Any:
        return keras.ops.relu(inputs + self.inner(inputs))


class Subclassed(keras.Model):
    """A network whose call alone knows what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Conv2D(4, 3), layers.Conv2D(5, 3)
        self.last = layers.Dense(2, activation="softmax")

    def call(self, inputs: Any) -> Any:
        seen = keras.ops.relu(self.second(keras.ops.relu(self.first(inputs))))
        return self.last(keras.ops.mean(seen, axis=(1, 2)))


def head(features: Any) -> Any:
    return layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(features))


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(2.0),
            layers.Conv2D(4, 3, activation="relu", name="last_seen"),
            layers.MaxPooling2D(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def nested() -> keras.Model:
    """Return a network that ends in a softmax layer, with another inside that pools."""
    inner_in = keras.Input(SHAPE)
    inner = layers.Conv2D(4, 3, name="last_seen")(inner_in)
    inner = keras.Model(inner_in, layers.GlobalAveragePooling2D()(inner), name="backbone")
    outer_in = keras.Input(SHAPE)
    outer = layers.Dense(3)(inner(layers.Rescaling(0.5)(outer_in)))
    return keras.Model(outer_in, layers.Softmax()(outer))


def twice_nested() -> keras.Model:
    inner = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(3, 3, padding="same")])
    middle = keras.Sequential([keras.Input(SHAPE), inner, layers.ReLU(name="last_seen")])
    outer_in = keras.Input(SHAPE)
    return keras.Model(outer_in, head(middle(outer_in)))


def of_operations() -> keras.Model:
    """Return a graph of keras.ops that ends in one."""
    start = keras.Input(SHAPE)
    seen = keras.ops.relu(layers.Conv2D(4, 3, name="conv")(start))
    return keras.Model(start, keras.ops.softmax(layers.Dense(3)(keras.ops.mean(seen, (1, 2)))))


def with_blocks() -> keras.Model:
    start = keras.Input(SHAPE)
    return keras.Model(start, head(Block(name="last_seen")(Block()(start))))


def subclassed() -> keras.Model:
    model = Subclassed()
    model(np.zeros((1, *SHAPE), np.float32))
    return model


def shared() -> keras.Model:
    """Return a network that uses one convolution twice."""
    start, conv = keras.Input(SHAPE), layers.Conv2D(3, 3, padding="same", name="last_seen")
    return keras.Model(start, head(conv(keras.ops.relu(conv(start)))))


def squeezing() -> keras.Model:
    """Return a network with a squeeze and excitation of 1x1."""
    start = keras.Input(SHAPE)
    seen = layers.Conv2D(4, 3, padding="same")(start)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(seen)
    seen = layers.Multiply(name="last_seen")([seen, layers.Conv2D(4, 1)(squeezed)])
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(seen)
    return keras.Model(start, layers.Dense(2, activation="softmax")(layers.Flatten()(pooled)))


KINDS: dict[str, Callable[[], keras.Model]] = {
    "sequential": sequential,
    "nested": nested,
    "twice nested": twice_nested,
    "operations": of_operations,
    "blocks": with_blocks,
    "subclassed": subclassed,
    "shared": shared,
    "squeezing": squeezing,
}


def randomised(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(2)
    for weight in model.weights:
        drawn = rng.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(drawn) + 0.5 if "variance" in weight.path else drawn)
    return model


def images(count: int = 3) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).random((count, *SHAPE), np.float32)


def probabilities_of(model: keras.Model) -> npt.NDArray[Any]:
    own = np.asarray(keras.ops.convert_to_numpy(model(images(), training=False)))
    return np.concatenate([1 - own, own], axis=1) if own.shape[1] == 1 else own


def difference_quotients(
    features: npt.NDArray[np.float32], after: Callable[[Any], Any]
) -> npt.NDArray[np.float64]:
    """Return the gradient of one number at the features of one image, by differences."""
    found = np.zeros(features.shape)
    for index in np.ndindex(features.shape):
        moved = np.stack([features, features]).astype(np.float64)
        moved[(0, *index)] += 0.05
        moved[(1, *index)] -= 0.05
        scores = keras.ops.convert_to_numpy(after(moved.astype(np.float32)))
        found[index] = (scores[0, 0] - scores[1, 0]) / 0.1
    return found


# --- scores ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_logits_of_the_networks_own_probabilities(kind: str) -> None:
    model = randomised(KINDS[kind]())
    own = probabilities_of(model)
    probe = Probe.of(model, SHAPE)
    scores = probe.scores(images())
    assert probe.from_logits
    np.testing.assert_allclose(probe.probabilities(scores), own, atol=1e-5)
    assert not np.isclose(np.exp(scores).sum(axis=1), 1).any()  # as of logarithms of them


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_left_as_it_was(kind: str) -> None:
    model = randomised(KINDS[kind]())
    own = probabilities_of(model)
    probe = Probe.of(model, SHAPE)
    gradcam(probe, images(), np.array([0, 1, 1]))
    np.testing.assert_array_equal(probabilities_of(model), own)


def test_where_the_end_cannot_be_seen_scores_are_logarithms_of_probabilities() -> None:
    start = keras.Input(SHAPE)
    hidden = 0.5 * head(layers.Conv2D(3, 3)(start)) + 0.25
    model = randomised(keras.Model(start, hidden))
    own = probabilities_of(model)
    probe = Probe.of(model, SHAPE)
    assert not probe.from_logits
    np.testing.assert_allclose(probe.scores(images()), np.log(own), atol=1e-6)


# --- layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"operations", "subclassed"}))
def test_the_last_layer_that_sees_places_is_looked_into(kind: str) -> None:
    assert Probe.of(KINDS[kind](), SHAPE).place().name == "last_seen"


def test_an_operation_between_layers_can_be_looked_into() -> None:
    probe = Probe.of(of_operations(), SHAPE)
    assert probe.place().shape == (10, 14, 4)
    assert probe.place().name != "conv"


def test_of_a_subclass_the_last_layer_is_looked_into() -> None:
    assert Probe.of(subclassed(), SHAPE).place().shape == (8, 12, 5)


def test_an_unknown_layer_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"no layer 'conv9' .* input to output: last_seen, max"):
        Probe.of(sequential(), SHAPE).place("conv9")


def test_a_network_without_convolution_says_what_works() -> None:
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(2, activation="softmax")]
    )
    with pytest.raises(DataError, match=r"no convolution .* --method occlusion and"):
        Probe.of(model, SHAPE).place()


def test_layers_of_a_recipe_are_counted_within_the_network() -> None:
    recipe = small_recipe("basic")
    names = []
    for _ in range(2):
        probe = Probe.of(networks.build(recipe, 2), SHAPE, counted_anew=True)
        names.append([place.name for place in probe.places])
    assert names[0] == names[1]
    assert names[0][:2] == ["conv2d", "max_pooling2d"]


# --- gradients -------------------------------------------------------------------------


def test_gradients_at_a_layer_are_those_of_difference_quotients() -> None:
    after = keras.Sequential(
        [layers.AveragePooling2D(2), layers.Activation("tanh"), layers.Flatten(), layers.Dense(1)]
    )
    start = keras.Input(SHAPE)
    logit = after(layers.Conv2D(3, 3, strides=2, name="seen")(start))
    model = randomised(keras.Model(start, layers.Activation("sigmoid")(logit)))
    probe = Probe.of(model, SHAPE)
    features, slopes = probe.slopes(images(1), np.array([1]), probe.place("seen"))
    expected = difference_quotients(features[0], after)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(slopes[0], expected, atol=1e-3)


def test_a_layer_that_is_used_by_two_ways_has_the_gradient_of_both() -> None:
    start = keras.Input(SHAPE)
    seen = layers.Conv2D(3, 3, padding="same", name="both")(start)
    joined = layers.Add()([seen, layers.Conv2D(3, 1, use_bias=False, name="way")(seen)])
    model = randomised(keras.Model(start, head(joined)))
    probe = Probe.of(model, SHAPE)
    way = keras.ops.convert_to_numpy(model.get_layer("way").weights[0])[0, 0]
    kernel = keras.ops.convert_to_numpy(model.layers[-1].weights[0])[:, 1]
    _, slopes = probe.slopes(images(1), np.array([1]), probe.place("both"))
    expected = (kernel + way @ kernel) / (SHAPE[0] * SHAPE[1])
    np.testing.assert_allclose(slopes[0], np.broadcast_to(expected, SHAPE), atol=1e-6)


def test_dropout_and_batch_statistics_stay_off() -> None:
    recipe = small_recipe("auto", model__dropout=[0.5])
    probe = Probe.of(networks.build(recipe, 2), SHAPE)
    one, other = (gradcam(probe, images(), np.array([0, 1, 1])).maps for _ in range(2))
    np.testing.assert_array_equal(one, other)
    alone = gradcam(probe, images()[:1], np.array([0])).maps
    np.testing.assert_allclose(one[0], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", ["basic", "auto", "skin-binary", "chest-xray"])
def test_the_networks_of_recipes_have_maps_in_either_precision(name: str) -> None:
    size = (64, 48) if name == "chest-xray" else SHAPE[:2]
    recipe = small_recipe(name, data__image_size=size)
    shape = (*size, 3)
    found = []
    for policy in ("float32", "mixed_bfloat16"):
        probe = Probe.of(randomised(networks.build(recipe, 2, policy=policy)), shape)
        pixels = np.random.default_rng(1).random((2, *shape), np.float32)
        found.append(gradcam(probe, pixels, np.array([0, 1])).maps)
    assert found[0].any()
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_a_network_with_a_backbone_of_keras_has_maps() -> None:
    network = {"model.network": "applications/MobileNetV2", "data.scaling": "none"}
    recipe = load_recipe("basic", {**SMALL, **network, "data.image_size": [32, 32]})
    probe = Probe.of(networks.build(recipe, 3), (32, 32, 3))
    place = probe.place("block_5_add")
    pixels = 255 * np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    _, slopes = probe.slopes(pixels, np.array([0, 2]), place)
    assert place.shape == (4, 4, 32)
    assert slopes.any(axis=(1, 2, 3)).all()


# --- features --------------------------------------------------------------------------


def test_feature_maps_are_those_of_the_layer_strongest_first() -> None:
    probe = Probe.of(randomised(sequential()), SHAPE)
    place = probe.place()
    maps, channels = feature_maps(probe, images(), place)
    plain = probe.features(images(), place)
    strength = np.abs(plain[0]).mean(axis=(0, 1))
    assert channels[0].tolist() == np.argsort(-strength).tolist()
    first = plain[0, ..., channels[0, 0]]
    expected = (first - first.min()) / (first.max() - first.min())
    np.testing.assert_allclose(maps[0, 0], expected, atol=1e-6)


def test_first_filters_are_the_weights_around_middle_grey() -> None:
    probe = Probe.of(randomised(sequential()), SHAPE)
    name, filters = first_filters(probe)
    kernel = keras.ops.convert_to_numpy(probe.model.get_layer("last_seen").weights[0])
    assert name == "last_seen"
    expected = np.moveaxis(kernel, -1, 0) / (2 * np.abs(kernel).max()) + 0.5
    np.testing.assert_allclose(filters, expected, atol=1e-6)


def test_filters_of_a_depthwise_convolution_are_grey() -> None:
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.DepthwiseConv2D(3),
            layers.Flatten(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    assert first_filters(Probe.of(model, SHAPE))[1].shape == (3, 3, 3, 1)

"""The normalisations that train fast against Keras' own: the same in all but time and order."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from tiny import small_recipe

from sightline.learning.models import forward, networks, normalising
from sightline.learning.training import compile_model

Floats = npt.NDArray[np.float32]
PAIRS = {
    "one formula": (normalising.BatchNormalization, keras.layers.BatchNormalization, (8, 6, 5, 30)),
    "fused": (normalising.BatchNormalization, keras.layers.BatchNormalization, (8, 6, 5, 32)),
    "vectors": (normalising.BatchNormalization, keras.layers.BatchNormalization, (24, 10)),
    "groups": (
        lambda: normalising.GroupNormalization(3),
        lambda: keras.layers.GroupNormalization(3),
        (8, 6, 5, 15),
    ),
    "layers": (normalising.LayerNormalization, keras.layers.LayerNormalization, (8, 40)),
}


def trained(make: Any, shape: tuple[int, ...], *, training: bool) -> tuple[Floats, list[Floats]]:
    """Return predictions and all weights after three steps behind a kernel that must learn."""
    inputs = keras.Input(shape[1:])
    ones = keras.layers.Dense(shape[-1], kernel_initializer=keras.initializers.GlorotUniform(1))
    normal = make()
    model = keras.Model(inputs, normal(ones(inputs)))
    model.compile(keras.optimizers.SGD(0.5), loss="mse")
    random = np.random.default_rng(0)
    images = random.normal(2, 3, shape).astype(np.float32)
    targets = random.normal(size=shape).astype(np.float32)
    for _ in range(3 * training):
        model.train_on_batch(images, targets)
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    return np.asarray(model.predict_on_batch(images)), weights


@pytest.mark.parametrize("case", PAIRS)
def test_it_trains_and_predicts_as_keras_does(case: str) -> None:
    ours, kerass, shape = PAIRS[case]
    found, weights = trained(ours, shape, training=True)
    expected, other = trained(kerass, shape, training=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for one, another in zip(weights, other, strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-4, atol=1e-5)
    before, _ = trained(ours, shape, training=False)
    assert np.abs(before - found).max() > 0.01  # something was learned at all


def test_one_image_has_no_deviation_and_gives_no_nan() -> None:
    layer = normalising.BatchNormalization()
    outputs = layer(np.ones((1, 1, 1, 16), np.float32), training=True)
    assert np.isfinite(keras.ops.convert_to_numpy(outputs)).all()
    assert keras.ops.convert_to_numpy(layer.moving_variance) == pytest.approx([0.99] * 16)


@pytest.mark.parametrize("name", ["ham10000", "chest-xray", "auto"])
def test_a_network_for_training_has_the_weights_and_predictions_of_the_plain_one(name: str) -> None:
    changes = {"data__image_size": (64, 64)} if name != "auto" else {}
    recipe = small_recipe(name, **changes)
    fast, plain = networks.build(recipe, 3, training=True), networks.build(recipe, 3)
    assert forward.get_weights(fast).keys() == forward.get_weights(plain).keys()
    assert [type(layer).__name__ for layer in fast.layers] == [
        type(layer).__name__ for layer in plain.layers
    ]
    images = np.random.default_rng(0).random((4, *fast.input_shape[1:]), np.float32)
    np.testing.assert_allclose(
        forward.forward(fast, images, batch_size=4),
        forward.forward(plain, images, batch_size=4),
        atol=1e-6,
    )


def test_the_plain_network_needs_no_class_of_ours() -> None:
    network = networks.build(small_recipe("auto"), 3)
    for layer in network.layers:
        assert type(layer) is getattr(keras.layers, type(layer).__name__)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="about TensorFlow's graphs")
@pytest.mark.parametrize("name", ["basic", "auto", "ham10000", "chest-xray", "skin-binary"])
def test_no_three_large_parts_are_added_in_the_order_in_which_they_are_ready(name: str) -> None:
    import tensorflow as tf

    changes = {} if name in ("auto", "basic") else {"data__image_size": (64, 64)}
    recipe = small_recipe(name, **changes)
    model = networks.build(recipe, 3, training=True)
    compile_model(model, recipe, 3, None)
    batch = tf.TensorSpec((8, *model.input_shape[1:])), tf.TensorSpec((8, 3)), tf.TensorSpec((8,))
    graph = tf.function(model.train_step).get_concrete_function(batch).graph
    sums = [each for each in graph.get_operations() if each.type == "AddN"]
    assert [each.name for each in sums if len(each.inputs) > 2] == []

"""What a network's last layer sees, as a second output of the same forward step."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from sightline.learning.models import embedding, forward

IMAGES = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)


def body() -> list[keras.Layer]:
    return [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]


def flat(units: int = 2) -> keras.Model:
    return keras.Sequential([*body(), layers.Dense(units, activation="softmax")])


def inside_another() -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(0.5), flat()])


def with_activation_apart() -> keras.Model:
    return keras.Sequential([*body(), layers.Dense(2), layers.Softmax()])


@pytest.mark.parametrize("build", [flat, inside_another, with_activation_apart])
def test_the_second_output_is_what_goes_into_the_last_dense_layer(build: object) -> None:
    model = build()  # type: ignore[operator]
    both = embedding.with_embedding(model)
    assert both is not None
    probabilities, seen = forward.forward_seeing(both, IMAGES, batch_size=3)
    np.testing.assert_allclose(probabilities, model.predict_on_batch(IMAGES), atol=1e-6)
    kernel, bias = (np.asarray(each) for each in model.get_weights()[-2:])
    logits = seen @ kernel + bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, probabilities, atol=1e-6)


def test_a_network_that_ends_without_a_dense_layer_has_none() -> None:
    model = keras.Sequential([*body()[:2], layers.Conv2D(2, 6), layers.Flatten()])
    assert embedding.with_embedding(model) is None


def test_a_network_that_only_its_class_knows_has_none() -> None:
    class Own(keras.Model):
        def call(self, x: object) -> object:
            return x

    assert embedding.with_embedding(Own()) is None


def test_wide_embeddings_keep_their_cosines() -> None:
    generator = np.random.default_rng(1)
    shared = generator.normal(size=(1, 5000))
    wide = (shared + generator.normal(size=(4, 5000))).astype(np.float32)
    narrow = embedding.narrowed(wide).astype(np.float32)
    assert narrow.shape == (4, embedding.PROJECTED)
    cosines = [
        (each @ each.T) / np.outer(*[np.linalg.norm(each, axis=1)] * 2) for each in (wide, narrow)
    ]
    np.testing.assert_allclose(cosines[1], cosines[0], atol=0.15)


def test_what_float16_cannot_hold_is_cut_off() -> None:
    assert np.isfinite(embedding.narrowed(np.array([[1e9, -1e9]], np.float32))).all()

"""Makes maps in a process of its own, on the backend of KERAS_BACKEND; writes them into a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
from keras import layers
from test_explanation_probe import SHAPE, images, nested, randomised
from tiny import small_recipe

from sightline.learning.explanation import METHODS, Probe
from sightline.learning.models import networks


def models() -> Iterator[tuple[str, keras.Model]]:
    """Yield networks of several kinds, with the same weights on each backend."""
    yield "nested", nested()
    yield "basic", networks.build(small_recipe("basic"), 2)
    yield "residual", networks.build(small_recipe("auto"), 3, policy="mixed_bfloat16")
    yield "skin-binary", networks.build(small_recipe("skin-binary"), 2)
    start = keras.Input(SHAPE)
    seen = layers.SeparableConv2D(6, 3, padding="same", activation="relu")(start)
    seen = layers.MaxPooling2D(2)(layers.BatchNormalization()(seen))
    end = layers.Dense(3, activation="softmax")(layers.Flatten()(seen))
    yield "separable", keras.Model(start, end)


def main() -> None:
    """Write the maps of every network and method."""
    found = {}
    for name, model in models():
        probe = Probe.of(randomised(model), SHAPE)
        pixels = images(3)
        targets = probe.scores(pixels).argmax(axis=1)
        for method, make in METHODS.items():
            maps = make(probe, pixels, targets, None)
            found[f"{name}, {method}"] = maps.maps
            if "sum" in maps.measured:
                found[f"{name}, sum"] = maps.measured["sum"]
    np.savez(sys.argv[1], **found)


main()

"""The generators of the whole process come back with a checkpoint."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from tiny import SIZE  # noqa: F401

from sightline.learning.training import randomness


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = randomness.state()
    yield
    randomness.restore(before)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: [random.random(), random.gauss(0, 1)],
        lambda: [float(np.random.rand()), float(np.random.randn())],  # noqa: NPY002
        lambda: keras.ops.convert_to_numpy(keras.random.normal((3,))).tolist(),
    ],
    ids=["python", "numpy", "keras"],
)
def test_a_generator_goes_on_where_it_was_saved(draw: Callable[[], Any]) -> None:
    draw()  # an odd number of normal draws: one is kept for later
    kept = json.loads(json.dumps(randomness.state()))
    first = draw()
    assert draw() != first
    randomness.restore(kept)
    assert draw() == first


def test_reading_the_generators_changes_none_of_them() -> None:
    randomness.state()  # Keras makes its own at the first look
    kept = randomness.state()
    assert randomness.state() == kept


def test_a_checkpoint_of_before_leaves_them_as_they_are() -> None:
    kept = randomness.state()
    randomness.restore({})
    assert randomness.state() == kept

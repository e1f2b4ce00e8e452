"""A step of training that does not fit into memory."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from tiny import SIZE

from sightline.errors import RunError
from sightline.learning.training import stepping


class Hungry(keras.layers.Layer):
    """A layer that needs 2^48 bytes, more than a processor can address, while it is trained."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        rows = ops.tile(ops.reshape(inputs, (2, -1))[:, :2], (1, 1 << 22))
        return inputs + ops.max(ops.matmul(ops.transpose(rows), rows))


class Failing(keras.Sequential):
    """A network whose step ends with an error, of backends that may not be here."""

    error: Exception

    def train_on_batch(self, *arrays: Any, **more: Any) -> Any:
        raise self.error


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


class ResourceExhaustedError(Exception):
    """As TensorFlow's is called."""


def step(model: keras.Model) -> Any:
    images = np.ones((8, *SIZE, 3), np.float32)
    return stepping.step(model, images, np.ones(8, np.float32), np.ones(8, np.float32))


def failing(error: Exception) -> keras.Model:
    model = Failing([keras.Input((*SIZE, 3)), layers.Flatten(), layers.Dense(1)])
    model.error = error
    return model


@pytest.mark.slow  # TensorFlow tries for ten seconds
def test_a_step_that_does_not_fit_into_memory_names_the_batch_size_and_how_much() -> None:
    stack = [Hungry(), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential([keras.Input((*SIZE, 3)), *stack])
    model.compile("adam", "binary_crossentropy")
    message = (
        r"memory for a step on 8 images of 12x16, one batch \(train\.batch_size\): .*alloca.*\. "
        r"Train anew with a smaller train\.batch_size.* sightline train --resume RUN goes on from"
    )
    with pytest.raises(RunError, match=message):
        step(model)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), r"MemoryError\. Train"),
        (MemoryError("Unable to allocate 9 TiB for an array"), r"Unable to allocate 9 TiB for an"),
        (OutOfMemoryError("CUDA out of memory. Tried 2 GiB."), r"out of memory\. Tried 2 GiB\. T"),
        (
            ResourceExhaustedError("Graph\nOOM when allocating a\nHint"),
            r": OOM when allocating a\. T",
        ),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), "allocating 9 byt"),
    ],
)
def test_what_a_backend_says_of_its_memory_is_told(error: Exception, told: str) -> None:
    with pytest.raises(RunError, match=told):
        step(failing(error))


def test_another_error_of_a_step_stays_as_it_is() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes do not match$") as raised:
        step(failing(RuntimeError("shapes do not match")))
    assert not isinstance(raised.value, RunError)

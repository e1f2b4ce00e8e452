"""Several devices of one machine: which they are, and how they share a batch.

The work is Keras' and TensorFlow's own: keras.distribution.DataParallel on JAX, and on TensorFlow
tf.distribute.MirroredStrategy. Whether a batch is shared out is decided by where a model was made,
so that a model of a caller's own strategy goes the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from sightline.errors import RecipeError
from sightline.learning.models.own import layers_of
from sightline.recipes import Recipe

Array = npt.NDArray[Any]

_OUR_EXCHANGES = 1 << 16  # the first number of them


@dataclass(frozen=True, slots=True)
class Devices:
    """What a training runs on.

    Attributes:
        names: Of the devices, such as "GPU:0".
        scope: What the model is made and trained in.
    """

    names: tuple[str, ...]
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext

    @classmethod
    def of(cls, recipe: Recipe, *, accelerators: int, model: keras.Model | None = None) -> Devices:
        """Return those that a recipe asks for, or those of a strategy that is there already.

        Args:
            recipe: Its `devices` is "one" or "all".
            accelerators: How many of them the machine has.
            model: What was given: one made in a strategy is trained by that.

        Raises:
            RecipeError: Several devices are asked for, and backend or recipe cannot share a batch.
        """
        if keras.config.backend() == "tensorflow":
            found = _mirrored(recipe, model)
        elif keras.config.backend() == "jax":
            found = _parallel(recipe)
        elif recipe.devices == "all":
            raise RecipeError(
                "devices 'all': several devices need TensorFlow or JAX, and the backend is "
                f"{keras.config.backend()}. Set devices=one, or choose another backend."
            )
        else:
            found = None
        if found is None:
            return cls(("GPU:0" if accelerators else "CPU:0",))
        if len(found.names) > 1:
            _refuse_sums(recipe)
        return found

    def in_words(self, recipe: Recipe) -> list[str]:
        """Return what a plan says of them, nothing where one was asked for and is used."""
        count, size = len(self.names), int(recipe.train.batch_size)
        if count == 1:
            alone = f"devices=all: there is one device here, {self.names[0]}, and it trains alone."
            return [alone] if recipe.devices == "all" else []
        each = f"{size // count}" if size % count == 0 else f"up to {-(-size // count)}"
        return [
            f"On {count} devices ({', '.join(self.names)}): each step's batch of {size} is shared "
            f"out, {each} images each. The expected time is that of one device."
        ]


def synchronise(model: keras.Model) -> None:
    """Let batch normalisation take its statistics over the whole batch, not a device's share.

    On JAX it does so by itself.
    """
    if keras.config.backend() != "tensorflow" or count(model) == 1:
        return
    for layer in layers_of(model):
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True


def count(model: keras.Model) -> int:
    """Return how many devices share the batches of a model."""
    if keras.config.backend() == "tensorflow":
        return int(model.distribute_strategy.num_replicas_in_sync)
    if keras.config.backend() == "jax" and (parallel := keras.distribution.distribution()):
        mesh = parallel.device_mesh
        return int(mesh.shape[list(mesh.axis_names).index(parallel.batch_dim_name)])
    return 1


def filled(array: Array, size: int) -> Array:
    """Return an array with its first axis filled up to `size`, over again from the beginning.

    Real images, as batch normalisation sees those as well that count for nothing.
    """
    return array[np.arange(size) % len(array)] if size > len(array) else array


def shared_out(model: keras.Model, array: Array) -> Any:
    """Return one value of which each device of a model has its part of the first axis.

    It has to be divisible by the devices.
    """
    if keras.config.backend() == "jax":
        layout = keras.distribution.distribution().get_data_layout(array.shape)
        return keras.distribution.distribute_tensor(array, layout)
    import tensorflow as tf

    parts = np.array_split(array, count(model))
    return model.distribute_strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def predict(model: keras.Model, images: npt.NDArray[np.float32]) -> list[Array]:
    """Return each output of a model for a batch, (B, units), whatever shares the batch."""
    devices = count(model)
    if devices == 1:
        found = model.predict_on_batch(images)
    else:
        whole = filled(images, -(-len(images) // devices) * devices)
        found = model.predict_on_batch(shared_out(model, whole))
    outputs = found if isinstance(found, list | tuple) else [found]
    return [np.asarray(output)[: len(images)] for output in outputs]


def _mirrored(recipe: Recipe, model: keras.Model | None) -> Devices | None:
    """Return the strategy of the model or of the caller, or else one over all devices."""
    import tensorflow as tf

    here = tf.distribute.get_strategy()  # outside of all scopes the default one
    strategy = getattr(model, "distribute_strategy", here)
    if strategy is here and not tf.distribute.has_strategy():
        if recipe.devices == "one":
            return None
        logical = tf.config.list_logical_devices
        names = [device.name for device in logical("GPU") or logical("CPU")]
        if len(names) == 1:
            return Devices((_plain(names[0]),))
        strategy = _strategy_over(tuple(names))
    return Devices(tuple(map(_plain, strategy.extended.worker_devices)), strategy.scope)


@functools.cache
def _strategy_over(names: tuple[str, ...]) -> Any:
    """Return one strategy for all trainings of a process: Keras' own seed is made in the first."""
    import tensorflow as tf

    # TensorFlow numbers what the devices of a strategy exchange, each strategy from the same
    # number: beside one that the caller made, ours would wait for its sums, and fail.
    apart = {"_collective_key_base": _OUR_EXCHANGES}
    return type("MirroredStrategy", (tf.distribute.MirroredStrategy,), apart)(names)


def _parallel(recipe: Recipe) -> Devices | None:
    """Return the caller's distribution, or else one over all devices."""
    parallel, scope = keras.distribution.distribution(), nullcontext
    if parallel is None:
        if recipe.devices == "one":
            return None
        names = keras.distribution.list_devices()
        if len(names) == 1:
            return Devices((_plain(names[0]),))
        parallel = keras.distribution.DataParallel(devices=names)
        scope = parallel.scope
    return Devices(tuple(_plain(str(each)) for each in parallel.device_mesh.devices.flat), scope)


def _plain(name: str) -> str:
    """Return "GPU:0" of "/job:localhost/replica:0/task:0/device:GPU:0" and of "gpu:0"."""
    return name.rpartition("device:")[2].upper()


def _refuse_sums(recipe: Recipe) -> None:
    """Refuse what needs the whole gradient before Keras on TensorFlow has added it up."""
    if keras.config.backend() != "tensorflow":
        return
    train = recipe.train
    if train.accumulate > 1:
        raise RecipeError(
            f"train.accumulate {train.accumulate} does not go with several devices on TensorFlow, "
            "which cannot add gradients up between them then. Set train.accumulate=1 and "
            f"train.batch_size={train.accumulate * int(train.batch_size)}, use JAX, or set "
            "devices=one."
        )
    if train.clip_norm:
        raise RecipeError(
            f"train.clip_norm {train.clip_norm:g} does not go with several devices on TensorFlow: "
            "the gradient of each device would be clipped on its own. Set train.clip_norm=0, use "
            "JAX, or set devices=one."
        )

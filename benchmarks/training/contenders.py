"""Who works in turns in the race of the loops: each builds once, then works for some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from benchmarks.training import ours
from benchmarks.training.ours import NEVER, Clock, Training

Turn = Callable[[float], dict[str, Any]]
Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def loop(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """Our loop on batches in memory."""
    return _loop(Training.of(order, held=True))


def streamed(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """Our loop on the stream, which reads cached pixels and changes them anew each epoch."""
    return _loop(Training.of(order, held=False))


def _loop(one: Training) -> tuple[Turn, dict[str, Any]]:
    def turn(seconds: float) -> dict[str, Any]:
        clock, rows = one.train_for(seconds)
        waiting = sum(row["seconds_waiting"] for row in rows)
        return {**_told(clock, one.images), "waiting": waiting}

    return turn, {"operations": ours.operations(one.model), "images": one.images}


def fit(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """`model.fit` with Keras' own layers, loss and metrics, as one would write it."""
    plan = ours.plan_of(order)
    model = ours.compiled(plan, layers_of_keras=True)
    smoothing = plan.recipe.train.label_smoothing
    binary = len(plan.manifest.class_names) == 2
    kind = keras.losses.BinaryCrossentropy if binary else keras.losses.CategoricalCrossentropy
    model.compile(
        optimizer=model.optimizer, loss=kind(label_smoothing=smoothing), metrics=["accuracy"]
    )
    weights = plan.weights()
    by_class = None if weights is None else dict(enumerate(map(float, weights)))
    return _fitted(model, _arrays(plan), int(plan.recipe.train.batch_size), by_class)


def fit_same_step(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """`model.fit` of a model that is built and compiled as ours is: the loop alone differs."""
    plan = ours.plan_of(order)
    return _fitted(ours.compiled(plan), _arrays(plan), int(plan.recipe.train.batch_size), None)


def _arrays(plan: Any) -> Arrays:
    """Return the images and targets that our loop holds as batches."""
    with ours.Held(plan.manifest, split="train", config=plan.stream_config("train")) as stream:
        held = stream.hold()
    return (
        np.concatenate([np.asarray(batch.images, np.float32) for batch in held]),
        np.concatenate([batch.targets for batch in held]),
    )


@dataclass(frozen=True, slots=True)
class _Feed:
    """One way to give arrays in memory to `fit`."""

    name: str
    arguments: dict[str, Any]


def _fitted(
    model: keras.Model, arrays: Arrays, batch: int, by_class: dict[int, float] | None
) -> tuple[Turn, dict[str, Any]]:
    images, targets = arrays
    targets = targets.reshape(len(targets), -1)
    steps = -(-len(images) // batch)

    def run(feed: _Feed, seconds: float, epochs: int = NEVER) -> Clock:
        clock = Clock(steps, seconds, epochs)
        model.fit(
            **feed.arguments, epochs=NEVER, callbacks=[clock], class_weight=by_class, verbose=0
        )
        return clock

    # Whatever is fastest for fit is taken; the first epoch of each compiles and does not count.
    feeds = _feeds(images, targets, batch)
    trial = {feed.name: min(run(feed, NEVER, 3).taken[1:]) for feed in feeds}
    chosen = min(feeds, key=lambda feed: trial[feed.name])

    def turn(seconds: float) -> dict[str, Any]:
        return _told(run(chosen, seconds), len(images))

    return turn, {"feed": chosen.name, "trial": trial}


def _feeds(
    images: npt.NDArray[np.float32], targets: npt.NDArray[np.float32], batch: int
) -> list[_Feed]:
    """Return the ways that this backend has."""
    arrays = {"x": images, "y": targets, "batch_size": batch, "shuffle": False}
    feeds = [_Feed("numpy arrays", arrays)]
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        slices = tf.data.Dataset.from_tensor_slices((images, targets)).batch(batch)
        feeds.append(_Feed("tf.data slices, prefetched", {"x": slices.prefetch(tf.data.AUTOTUNE)}))
        ready = tf.data.Dataset.from_tensor_slices(
            tuple(each.reshape(-1, batch, *each.shape[1:]) for each in (images, targets))
        )
        feeds.append(_Feed("tf.data of ready batches", {"x": ready}))
    if keras.config.backend() == "torch":
        import torch

        held = torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(targets))
        loader = torch.utils.data.DataLoader(held, batch_size=batch)
        feeds.append(_Feed("torch DataLoader of tensors", {"x": loader}))
    return feeds


def product(_: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """The backend's own product of two square matrices, in float32 and in bfloat16."""
    sizes = (1024, 2048, 4096)
    rng = np.random.default_rng(0)

    def rate(dtype: str, size: int, seconds: float) -> float:
        plain = rng.standard_normal((size, size), np.float32)
        matrix = keras.ops.cast(keras.ops.convert_to_tensor(plain), dtype)
        began, count, result = time.perf_counter(), 0, matrix
        while not count or time.perf_counter() - began < seconds:
            result = keras.ops.matmul(matrix, matrix)
            # Waits: some backends hand out a product before it is computed.
            float(keras.ops.cast(result[0, 0], "float32"))
            count += 1
        return 2 * size**3 * count / (time.perf_counter() - began)

    best = {
        dtype: max(sizes, key=lambda size: rate(dtype, size, 0.5))
        for dtype in ("float32", "bfloat16")
    }

    def turn(seconds: float) -> dict[str, Any]:
        return {dtype: rate(dtype, size, seconds / 2) for dtype, size in best.items()}

    return turn, {"sizes": best}


def _told(clock: Clock, images: int) -> dict[str, Any]:
    return {"images": images * len(clock.taken), "seconds": sum(clock.taken)}

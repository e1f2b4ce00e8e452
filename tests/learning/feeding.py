"""Pictures that tell which record they are, a network that reads it off, and what it has seen."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from sightline.data.images import encode_png
from sightline.data.stream import Stream, StreamConfig
from sightline.recipes import AugmentSection
from sightline.records import Batch, Manifest

SIZE = (6, 8)  # height, width
NUM_TRAIN, NUM_VALIDATION = 23, 9
STEP = 7  # levels of red between one record's picture and the next one's
MOVES = AugmentSection(rotation=20, width_shift=0.2, zoom=0.2, horizontal_flip=True)


def write_records(folder: Path, *, labels: tuple[str, ...] = ("ape", "bee")) -> Manifest:
    """Write a picture a record: noise, but an even red tells the record through every move."""
    count = NUM_TRAIN + NUM_VALIDATION
    names = [f"{number:02d}.png" for number in range(count)]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        pixels[..., 0] = STEP * number
        (folder / name).write_bytes(encode_png(pixels))
    columns = {
        "record_id": names,
        "label": [labels[number % len(labels)] for number in range(count)],
        "split": ["train" if number < NUM_TRAIN else "validation" for number in range(count)],
    }
    return Manifest.make(folder, columns)


def train_stream(manifest: Manifest, **changes: Any) -> Stream:
    """Return 23 records in 6 batches, the last of 3, shuffled and moved anew each epoch."""
    settings = {"image_size": SIZE, "batch_size": 4, "num_threads": 2, "shuffle": True}
    return Stream(
        manifest, split="train", config=StreamConfig(**{**settings, "augment": MOVES, **changes})
    )


def validation_stream(manifest: Manifest) -> Stream:
    """Return 9 records in 3 batches, the last of 1, in the manifest's order."""
    config = StreamConfig(image_size=SIZE, batch_size=4, num_threads=2)
    return Stream(manifest, split="validation", config=config)


def batches_of(manifest: Manifest, epoch: int, **changes: Any) -> list[Batch]:
    """Return an epoch's batches from a stream of their own."""
    with train_stream(manifest, **changes) as stream:
        return list(stream.epoch(epoch))


def rows_of(manifest: Manifest, epoch: int, **changes: Any) -> list[list[int]]:
    return [sorted(batch.rows.tolist()) for batch in batches_of(manifest, epoch, **changes)]


def threads_of_streams() -> list[str]:
    """Return the threads of streams that are left when Python has freed what it can."""
    gc.collect()
    names: list[str] = []
    for _ in range(100):  # what was freed ends a moment later
        names = [thread.name for thread in threading.enumerate()]
        names = [name for name in names if name.startswith("sightline")]
        if not names:
            break
        time.sleep(0.02)
    return names


class Seen(keras.metrics.Metric):
    """In which batches of an epoch the network saw each record, as far as it can tell them."""

    def __init__(self) -> None:
        super().__init__(name="seen")
        count = NUM_TRAIN + NUM_VALIDATION
        self.times = self.add_variable((count,), "zeros", name="times")
        self.place = self.add_variable((count,), "zeros", name="place")
        self.last = self.add_variable((count,), "zeros", name="last")
        self.step = self.add_variable((), "zeros", name="step")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        rows = keras.ops.cast(keras.ops.round(y_pred[:, 0] * 255 / STEP), "int32")
        here = keras.ops.sum(keras.ops.one_hot(rows, NUM_TRAIN + NUM_VALIDATION), axis=0)
        self.times.assign(self.times + here)
        self.place.assign(self.place + here * self.step)
        self.last.assign(here)
        self.step.assign(self.step + 1)

    def result(self) -> Any:
        return keras.ops.convert_to_tensor(self.step)  # JAX wants no variable here

    def latest(self) -> list[int]:
        """Return the rows of the last batch of the training at work."""
        return np.flatnonzero(np.asarray(keras.ops.convert_to_numpy(self.last))).tolist()

    def batches(self) -> list[list[int]]:
        """Return the rows of each batch; each row at most once."""
        times, place = (np.asarray(keras.ops.convert_to_numpy(v)) for v in (self.times, self.place))
        assert times.max() <= 1, f"seen more than once: {np.flatnonzero(times > 1)}"
        steps = int(keras.ops.convert_to_numpy(self.step))
        seen = times == 1
        return [np.flatnonzero(seen & (place == step)).tolist() for step in range(steps)]


class Observer(keras.callbacks.Callback):
    """Counts the batches of each epoch, and keeps what the network saw of them."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen
        self.counts: list[int] = []
        self.validated: list[int] = []
        self.epochs: list[list[list[int]]] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.counts.append(0)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.counts[-1] += 1

    def on_test_begin(self, logs: object = None) -> None:
        self.epochs.append(self.seen.batches())  # before the validation, which counts anew
        self.validated.append(0)

    def on_test_batch_end(self, batch: int, logs: object = None) -> None:
        self.validated[-1] += 1

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        if len(self.epochs) < len(self.counts):
            self.epochs.append(self.seen.batches())


class Follower(keras.callbacks.Callback):
    """Writes down the rows of each batch when the network has seen it."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen
        self.batches: list[list[int]] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if keras.config.backend() == "jax":
            self.model.jax_state_sync()  # a metric is read between two steps
        self.batches.append(self.seen.latest())


class StopAt(keras.callbacks.Callback):
    """Stops the training, or fails, after a batch."""

    def __init__(self, batch: int, *, error: str = "") -> None:
        super().__init__()
        self.batch, self.error = batch, error

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == self.batch:
            if self.error:
                raise RuntimeError(self.error)
            self.model.stop_training = True


def reading_model(**compiling: Any) -> tuple[keras.Model, Observer]:
    """Return a network that tells which record a picture is, and learns nothing."""
    inputs = keras.Input((*SIZE, 3))
    level = keras.layers.GlobalAveragePooling2D()(inputs)[:, :1]
    output = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(level)
    model = keras.Model(inputs, output)
    seen = Seen()
    model.compile(keras.optimizers.SGD(0.0), loss="mse", metrics=[seen], **compiling)
    return model, Observer(seen)


def flat(batches: Iterable[Iterable[int]]) -> list[int]:
    return sorted(row for batch in batches for row in batch)

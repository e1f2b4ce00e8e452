"""The order of batches: a permutation a pass, from NumPy's global generator, as Keras draws it."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt

from sightline.learning.feeds.passes import Passes
from sightline.preprocessing.repeating import Repeated

Rows = npt.NDArray[np.int64]

_LEFT_OVER = (
    "this epoch of Keras has only what another one left of {batches} batches, because "
    "`steps_per_epoch` of `fit` is not the number of batches. Give every epoch its own: "
    "model.fit(generator.repeat(steps_per_epoch), epochs=...), or leave `steps_per_epoch` out."
)


class Iterator(keras.utils.PyDataset):
    """Batches of numbered samples, as a PyDataset of `len()` batches and an endless iterator.

    With a seed, batch number b since the iterator was made is drawn from a generator seeded with
    `seed` + b. One pass after another: `next` reshuffles at the first batch of a pass, Keras at
    the end of an epoch.

    Subclasses implement `_get_batches_of_transformed_samples`.

    Attributes:
        n: Samples.
        batch_size: Of a batch; the last one of a pass may be smaller.
        shuffle: Whether each pass has an order of its own.
        seed: Or None: then NumPy's global generator decides, as it stands.
        batch_index: Batches that `next` gave in this pass.
        total_batches_seen: Batches given since the iterator was made.
        index_array: (n,) the order of this pass; None before the first batch.
        last_index_array: Samples of the batch that was given last.
        workers: 1 for Keras, whose threads would only be in the way of ours.
    """

    white_list_formats = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")
    _strict_keras = False

    def __init__(
        self, n: int, batch_size: int, shuffle: bool, seed: int | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.n = n
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.batch_index = 0
        self.total_batches_seen = 0
        self.lock = threading.Lock()
        self._making = threading.RLock()  # held while a batch is made
        self.index_array: Rows | None = None
        self.last_index_array: Rows | None = None
        self.index_generator = self._flow_index()
        self._passes = Passes(_LEFT_OVER)

    def _set_index_array(self) -> None:
        self.index_array = self._order(np.random)

    def _order(self, source: Any) -> Rows:
        """Return the order of a pass, drawn from a source of random numbers."""
        return source.permutation(self.n) if self.shuffle else np.arange(self.n)

    def __getitem__(self, idx: int) -> Any:
        """Return batch `idx` of the present order.

        Raises:
            ValueError: There is no such batch.
        """
        if idx >= len(self):
            raise ValueError(
                f"Asked to retrieve element {idx}, but the Sequence has length {len(self)}"
            )
        self._passes.ask(idx, len(self))
        if self.seed is not None:
            np.random.seed(self.seed + self.total_batches_seen)  # as Keras does
        self.total_batches_seen += 1
        if self.index_array is None:
            self._set_index_array()
        order: Any = self.index_array
        return self._get(order[self.batch_size * idx : self.batch_size * (idx + 1)])

    def __len__(self) -> int:
        """Batches of a pass."""
        return (self.n + self.batch_size - 1) // self.batch_size

    def on_epoch_begin(self) -> None:
        """Take note that Keras begins an epoch."""
        self._passes.begin_epoch()

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self._set_index_array()
        self._passes.end_epoch(len(self))

    def reset(self) -> None:
        """Let `next` begin a pass."""
        self.batch_index = 0

    def rest(self) -> None:
        """End what works in the background; it comes back with the next batch."""

    def _flow_index(self) -> Generator[Rows]:
        """Yield the samples of each batch, endlessly; counts and draws as it goes."""
        self.reset()
        while True:
            if self.seed is not None:
                np.random.seed(self.seed + self.total_batches_seen)
            if self.batch_index == 0:
                self._set_index_array()
            begin, self.batch_index = self._step(self.batch_index)
            self.total_batches_seen += 1
            order: Any = self.index_array
            yield order[begin : begin + self.batch_size]

    def _step(self, batch_index: int) -> tuple[int, int]:
        """Return where a batch begins in its pass, and the number of the one after it."""
        begin = (batch_index * self.batch_size) % self.n if self.n else 0
        return begin, batch_index + 1 if self.n > begin + self.batch_size else 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        with self.lock:
            index_array = next(self.index_generator)
        return self._get(index_array)

    def next(self) -> Any:
        """Return the next batch, as `next(iterator)`: what Python 2 called it."""
        return self.__next__()

    def repeat(self, steps_per_epoch: int | None = None) -> Repeated:
        """Return what gives every epoch of `fit` as many batches, on every backend.

            model.fit(generator.repeat(100), epochs=10)

        Epochs go on where the last one ended, through one pass after another.

        Args:
            steps_per_epoch: Batches of an epoch; by default a whole pass.

        Raises:
            ValueError: It is less than 1.
        """
        return Repeated(self, len(self) if steps_per_epoch is None else steps_per_epoch)

    @property
    def workers(self) -> int:
        """1: pixels are made in threads of the stream, and Keras' queue stays out of the way."""
        self._passes.begin_call()  # Keras asks when a call of `fit` begins
        return int(self._workers) if self._strict_keras else 1

    @workers.setter
    def workers(self, value: int) -> None:
        """Take note of it, for strict_keras alone."""
        self._workers = value

    @property
    def use_multiprocessing(self) -> bool:
        """False: pixels are made in threads, whose memory needs no copying."""
        return bool(self._use_multiprocessing) if self._strict_keras else False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        """Take note of it, for strict_keras alone."""
        self._use_multiprocessing = value

    def _get(self, index_array: Rows) -> Any:
        self.last_index_array = index_array
        return self._get_batches_of_transformed_samples(index_array)

    def _get_batches_of_transformed_samples(self, index_array: Rows) -> Any:
        """Return the batch of these samples.

        Raises:
            NotImplementedError: A subclass has not said how.
        """
        raise NotImplementedError

"""PyDatasets with the right number of batches in every epoch: of a stream, and of anything."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

import keras

from sightline.data.stream import Stream
from sightline.learning.feeds.batches import Arrays, Reader, arrays, checked_epoch, checked_steps
from sightline.learning.feeds.passes import Passes

_LEFT_OVER = (
    "This epoch of Keras has only what another one left of {batches} batches, because "
    "`steps_per_epoch` of `fit` is not the feed's number of batches. Give it to the feed instead: "
    "keras_dataset(stream, steps_per_epoch=...)."
)


class Epochwise(keras.utils.PyDataset):
    """Batches that are given in order, whatever numbers Keras asks for; a fixed number an epoch.

    Subclasses say by `take` what batch comes at a place of an epoch.
    """

    def __init__(self, num_batches: int, *, first_epoch: int = 0, told: str = _LEFT_OVER) -> None:
        super().__init__()
        self._num_batches = num_batches
        self._current = self._epoch = first_epoch
        self._passes = Passes(told)
        self._lock = threading.RLock()  # TensorFlow asks from a thread of its own

    @abstractmethod
    def take(self, epoch: int, place: int, *, looking: bool) -> Any:
        """Return the batch at a place of an epoch.

        Args:
            epoch: 0-based.
            place: 0-based; within an epoch they come in order.
            looking: Whether it is a look outside of Keras' own epochs: it comes again there.
        """

    def left(self) -> None:
        """Do what is due when an epoch, or a look, has ended or was given up."""

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._num_batches

    @property
    def num_batches(self) -> int:
        """Batches of an epoch, as Keras asks for them."""
        return self._num_batches

    @property
    def epoch(self) -> int:
        """The epoch that comes next."""
        return self._epoch

    def __getitem__(self, index: int) -> Any:
        """Return a batch: within an epoch of Keras the next one, else number `index`.

        Raises:
            IndexError: There is no such batch.
        """
        with self._lock:
            if not 0 <= index < self._num_batches:
                raise IndexError(f"batch {index} is not one of 0..{self._num_batches - 1}")
            looking = not self._passes.within or self._passes.only_looking
            place = self._passes.ask(index, self._num_batches)
            return self.take(self._current, place, looking=looking)

    def on_epoch_begin(self) -> None:
        """Begin an epoch: batches are now given in order."""
        with self._lock:
            self.left()
            self._passes.begin_epoch()
            self._current = self._epoch
            self._epoch += self.epochs_a_pass()

    def epochs_a_pass(self) -> int:
        """Return how many epochs of `take` one of Keras takes."""
        return 1

    def on_epoch_end(self) -> None:
        """End an epoch, or Keras' look at the first batches."""
        with self._lock:
            if not self._passes.end_epoch(self._num_batches):
                self._epoch = self._current
            self.left()
            self._current = self._epoch

    @property
    def workers(self) -> int:
        """1: batches come in order, and Keras' queue stays out of the way."""
        with self._lock:  # Keras asks when a call of `fit`, `evaluate` or `predict` begins
            self.left()
            self._passes.begin_call()
            self._current = self._epoch
        return 1

    @workers.setter
    def workers(self, value: int) -> None:
        """Refuse any other number."""
        _refuse("workers", value, 1)

    @property
    def use_multiprocessing(self) -> bool:
        """False: batches are not copied from other processes."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        """Refuse True."""
        _refuse("use_multiprocessing", value, False)


class KerasDataset(Epochwise):
    """Whole batches of a stream for `fit`, `evaluate` and `predict`.

        feed = keras_dataset(stream)
        model.fit(feed, epochs=10)

    A batch is (images (B, H, W, C) float32 or uint8, targets (B,) or (B, K) float32, weights (B,)
    float32), or images alone; the last one of an epoch of the stream may be smaller. An unreadable
    file has weight 0. `class_weight` cannot be given beside these weights; Keras says so.

    Epoch n of `fit` is the stream's epoch `first_epoch` + n, from its beginning; one that was
    stopped in its middle counts, one of `predict` does not. With `steps_per_epoch`, every epoch
    has that many batches: when they are fewer than the stream's, the first ones, and the rest is
    left out (others in each epoch, where the stream shuffles); when they are more, it goes on
    through the stream's next epochs.

    The stream's threads end with an epoch. Those of an epoch that was stopped in its middle wait
    for the next one, and end with the feed, by `close()`, or at the end of a `with` block.

    Raises:
        DataError: From `fit` and `feed[i]`: more files than the stream's budget could not be
            read. With TensorFlow `fit` raises its InvalidArgumentError, with the same text.
        RuntimeError: From `fit`: the feed was closed within an epoch.
    """

    def __init__(
        self, stream: Stream, *, steps_per_epoch: int | None, first_epoch: int, images_only: bool
    ) -> None:
        super().__init__(
            checked_steps(steps_per_epoch) or len(stream), first_epoch=checked_epoch(first_epoch)
        )
        self._images_only = images_only
        self._stream_batches = len(stream)
        self._closed_within = False
        self._reader = Reader(stream)

    def take(self, epoch: int, place: int, *, looking: bool) -> Arrays:  # noqa: ARG002
        """Return a batch of the stream."""
        if self._closed_within:
            # TensorFlow's thread may ask on after its call: that must start nothing again.
            raise RuntimeError(
                f"batch {place} was asked for after its epoch was left. Close a feed after "
                "`fit`, not within."
            )
        epochs, number = divmod(place, self._stream_batches)
        return arrays(self._reader.batch(epoch + epochs, number), images_only=self._images_only)

    def left(self) -> None:
        """End the stream's threads."""
        self._closed_within = False
        self._reader.close()

    def epochs_a_pass(self) -> int:
        """Return how many epochs of the stream one of Keras takes."""
        return -(-len(self) // self._stream_batches)

    def close(self) -> None:
        """Leave an epoch that was not finished, and end the stream's threads."""
        with self._lock:
            self.left()
            self._closed_within = self._passes.within

    def __enter__(self) -> KerasDataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refuse(name: str, value: object, only: object) -> None:
    if value != only:
        raise ValueError(
            f"{name} of a stream's feed must be {only}, got {value!r}: the stream reads ahead in "
            "threads of its own. For more of them give StreamConfig(num_threads=...)."
        )
